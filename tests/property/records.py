"""Strategies: dtypes of records, and values for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

_INTEGERS = {kind: np.iinfo(kind) for kind in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")}
_FORMATS = [*_INTEGERS, "?", "f2", "f4", "f8", "S1", "S7", "U3", "M8[ns]", "m8[us]"]


def _value(format_: str) -> st.SearchStrategy[Any]:
    """What emit_fields takes for a field, such that numpy stores the same bytes."""
    if format_ in _INTEGERS:
        return st.integers(int(_INTEGERS[format_].min), int(_INTEGERS[format_].max))
    match format_[0]:
        case "?":
            return st.booleans()
        case "f":
            return st.floats(width=8 * int(format_[1]), allow_nan=False)
        case "S":
            return st.binary(max_size=int(format_[1:]))
        case "U":
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=int(format_[1:]))
        case _:
            kind = np.datetime64 if format_[0] == "M" else np.timedelta64
            return st.integers(-(2**62), 2**62).map(lambda n: kind(n, format_[3:-1]))


@st.composite
def records(draw: st.DrawFn, max_count: int = 40) -> tuple[np.dtype[np.void], list[tuple[Any, ...]]]:
    """A dtype, packed, padded or with its fields in disorder, and rows of values for it."""
    formats = draw(st.lists(st.sampled_from(_FORMATS), min_size=1, max_size=6))
    names = [f"field_{number}" for number in range(len(formats))]
    dtype = np.dtype(list(zip(names, formats, strict=True)), align=draw(st.booleans()))
    if draw(st.booleans()):
        places = np.cumsum([0, *(np.dtype(format_).itemsize + draw(st.integers(0, 3)) for format_ in formats)])
        order = draw(st.permutations(range(len(formats))))
        shuffled = {"names": [names[n] for n in order], "formats": [formats[n] for n in order]}
        dtype = np.dtype({**shuffled, "offsets": [int(places[n]) for n in order], "itemsize": int(places[-1])})
        formats = [formats[n] for n in order]
    row = st.tuples(*map(_value, formats))
    return dtype, draw(st.lists(row, min_size=1, max_size=max_count))


def same_fields(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays of one dtype hold the same bytes in every field; what pads them may differ."""
    assert one.dtype == other.dtype
    return all(one[name].tobytes() == other[name].tobytes() for name in one.dtype.names or ())
