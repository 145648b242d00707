"""What a row of history holds: what up to 256 series of one metric were at one time, or gained in the time before it.

    key   number of the shard << 34 | seconds since the epoch at which the time ends
    data  records of the dtype of the metric's kind, in order of their slot: of series of which there is something new
          since the row before, and at every 60th time of all that there are

So who wants the value at some time finds it in the last 60 times, or there is none. Integers and floats are
little-endian.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

RESOLUTIONS: Final = (1, 60, 3600)  # seconds
ALL_EVERY: Final = 60  # times of a resolution
SHARD: Final = 256  # series
TIME_BITS: Final = 34

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
KINDS: Final = {
    "counter": np.dtype([("slot", "u1"), ("value", "<f8"), ("gain", "<f8")]),
    "gauge": np.dtype([("slot", "u1"), ("value", "<f8")]),
    "histogram": np.dtype(
        [("slot", "u1"), ("count", "<u8"), ("sum", "<f8"), ("p50", "<f4"), ("p90", "<f4"), ("p99", "<f4"),
         ("max", "<f8"), ("coverage", "<f4")]
    ),
}  # fmt: skip
"""Of each kind: a counter's total and what it gained, a gauge's value, the observations of a histogram in that time."""

Numbers = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]


def table(resolution: int) -> str:
    return f"history_{resolution}"


def key(shard: int, time: int) -> int:
    return shard << TIME_BITS | time


def split(numbers: Numbers, records: Records) -> Iterator[tuple[int, bytes]]:
    """(number of the shard within its metric, data) of records of these series, which ascend."""
    records["slot"] = numbers % SHARD
    shards = numbers // SHARD
    begins = np.flatnonzero(np.diff(shards, prepend=-1))
    for begin, end in zip(begins, [*begins[1:], len(numbers)], strict=True):
        yield int(shards[begin]), records[begin:end].tobytes()
