import numpy as np
import numpy.typing as npt

from ._store import Store

class Seconds:
    def __init__(self, store: Store) -> None: ...
    def take(self) -> None: ...
    @property
    def row_bytes(self) -> int: ...
    @property
    def buckets(self) -> int: ...
    def parts(self) -> list[memoryview]: ...

def summarise(
    stored: npt.NDArray[np.uint8],
    seconds: list[tuple[int, int, int, int]],
    ends: npt.NDArray[np.uint64],
    series: npt.NDArray[np.uint32],
    wanted: npt.NDArray[np.float64],
    amounts: npt.NDArray[np.float64],
    counts: npt.NDArray[np.uint64],
    dropped: npt.NDArray[np.uint64],
    maxima: npt.NDArray[np.float64],
    quantiles: npt.NDArray[np.float64],
) -> None: ...
def add_up(
    stored: npt.NDArray[np.uint8],
    seconds: list[tuple[int, int, int, int]],
    series: npt.NDArray[np.uint32],
    counts: npt.NDArray[np.uint64],
) -> tuple[float, float, int, int]: ...
def row_size() -> int: ...
