from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

class Buckets:
    def __init__(self, bounds: Sequence[float]) -> None: ...

def bucket_keys(values: npt.NDArray[np.float64], keys: npt.NDArray[np.uint32]) -> None: ...
