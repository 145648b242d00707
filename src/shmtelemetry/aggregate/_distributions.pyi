import numpy as np
import numpy.typing as npt

def gather_all(
    state: npt.NDArray[np.uint8], directories: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.uint64]]: ...
