import numpy as np
import numpy.typing as npt

MAX_LINE: int
KINDS: dict[str, int]
REASONS: tuple[str, ...]

class Rows:
    def __init__(self, targets: list[tuple[str, int, int, int]], line_at: int, offset_at: int) -> None: ...
    def parse(
        self, data: bytes, begin: int, records: npt.NDArray[np.uint8], first: int, offset: int, line: int
    ) -> tuple[int, int, int, str]: ...
