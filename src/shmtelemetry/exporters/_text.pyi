import numpy as np
import numpy.typing as npt

from ..aggregate.snapshot import Counts, Floats

class Joined:
    def __init__(self, texts: list[bytes]) -> None: ...
    @property
    def count(self) -> int: ...

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

class GridLines:
    def __init__(
        self,
        name: bytes,
        labels: Joined,
        series: npt.NDArray[np.int64],
        columns: Joined,
        numbers: Floats,
        rounded: bool,
    ) -> None: ...

def compose(sections: list[bytes | tuple[FamilyLines, bool, bool] | GridLines]) -> bytes: ...
def go_string(value: float) -> bytes: ...
