from ..aggregate.snapshot import Counts, Floats

class FamilyLines:
    def __init__(
        self,
        value: bytes,
        count: bytes,
        created: bytes,
        labels: list[bytes],
        before: list[bytes],
        bounds: list[bytes],
        after: list[bytes],
    ) -> None: ...
    def show_exemplars(self, lines: Counts, texts: list[bytes]) -> None: ...
    def update(self, values: Floats, created: Floats, counts: Counts | None = None) -> None: ...

def compose(sections: list[bytes | tuple[FamilyLines, bool, bool]]) -> bytes: ...
def go_string(value: float) -> bytes: ...
