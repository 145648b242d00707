import numpy as np
import numpy.typing as npt

from .._mapping import Mapping

class Store:
    mapping: Mapping
    def __init__(self, mapping: Mapping) -> None: ...
    def allocate(self, size: int) -> int: ...
    def recover(self) -> None: ...
    def end_step(self) -> None: ...

def structures() -> dict[str, int]: ...
def copy_state(
    state: memoryview,
    to: npt.NDArray[np.uint8],
    entries: npt.NDArray[np.uint8],
    series: npt.NDArray[np.uint64],
    classic_lengths: npt.NDArray[np.uint64],
    distributions: bool,
    patience: float,
) -> int: ...
def copy_slots(
    state: memoryview, to: npt.NDArray[np.uint8], slots: npt.NDArray[np.uint64], patience: float
) -> bool: ...
