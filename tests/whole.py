"""Records that tell whether they are whole: their number in each of their words, in another form in each."""

from __future__ import annotations

import numpy as np

WORDS = 32
DTYPE = np.dtype([(f"word_{n}", "<u8") for n in range(WORDS)])
_MIX = (np.arange(WORDS, dtype="u8") * np.uint64(0x9E3779B97F4A7C15)).reshape(1, WORDS)


def records(begin: int, count: int) -> np.ndarray:
    numbers = np.arange(begin, begin + count, dtype="u8").reshape(count, 1)
    return (numbers ^ _MIX).reshape(-1).view(DTYPE)


def numbers_of(batch: np.ndarray) -> np.ndarray:
    """The records' numbers, of which every record must be whole."""
    words = np.ascontiguousarray(batch).view("<u8").reshape(len(batch), WORDS)
    numbers = words[:, :1]
    assert np.array_equal(words, numbers ^ _MIX), "a torn record"
    return numbers[:, 0]
