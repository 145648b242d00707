import numpy as np
import numpy.typing as npt

from ..aggregate.snapshot import Counts, Floats

class Joined:
    def __init__(self, text: bytes, begin: npt.NDArray[np.uint64]) -> None: ...

class FamilyExemplars:
    def __init__(
        self,
        series: npt.NDArray[np.int32],
        bucket: npt.NDArray[np.int32],
        values: Floats,
        times: npt.NDArray[np.int64],
        labels: Joined,
    ) -> None: ...

def gauges(labels: Joined, values: Floats) -> bytes: ...
def counters(labels: Joined, values: Floats, created: Floats, exemplars: FamilyExemplars) -> bytes: ...
def histograms(
    labels: Joined,
    sums: Floats,
    created: Floats,
    counts: Counts,
    bounds: Floats,
    begin: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    exponential: Counts,
    zeros: Counts,
    negatives: Counts,
    infinities: Counts,
    exemplars: FamilyExemplars,
) -> bytes: ...
