import numpy as np
import numpy.typing as npt

def find_damaged(
    state: memoryview,
    histograms: npt.NDArray[np.uint64],
    keys: npt.NDArray[np.uint32],
    first_key: npt.NDArray[np.uint64],
    bounds: npt.NDArray[np.uint64],
    lowest: npt.NDArray[np.uint32],
    highest: npt.NDArray[np.uint32],
) -> tuple[int, str]: ...
