"""series.py and _state.pxd describe the same bytes."""

from __future__ import annotations

import re
from importlib.resources import files

import numpy as np
import pytest

from shmtelemetry.aggregate import _store, series

DTYPES = {
    "Header": series.HEADER,
    "Series": series.SERIES,
    "Slot": series.SLOT,
    "Name": series.NAME,
    "Fold": series.FOLD,
    "Exemplar": series.EXEMPLAR,
}
C_TYPES = {"uint64_t": "u8", "uint32_t": "u4", "double": "f8"}
DEFINITIONS = files("shmtelemetry.aggregate").joinpath("_state.pxd").read_text()


def c_structure(name: str) -> np.dtype[np.void]:
    """A structure of _state.pxd as C lays it out; arrays of characters are opaque bytes."""
    (body,) = re.findall(rf"cdef struct {name}:.*\n((?:    .*\n)+)", DEFINITIONS)
    fields: list[tuple[str, str] | tuple[str, str, int]] = []
    for kind, field, length in re.findall(r"^    ((?:unsigned )?\w+) (\w+)(?:\[(\w+)\])?", body, re.MULTILINE):
        count = number(length) if length else 1
        if kind.endswith("char"):
            fields.append((field, f"V{count}"))
        else:
            fields.append((field, C_TYPES[kind], count) if length else (field, C_TYPES[kind]))
    return np.dtype(fields, align=True)


def number(text: str) -> int:
    """A number, or the constant of that name."""
    if text.isdigit():
        return int(text)
    (value,) = re.findall(rf"^    {text} = (.*?)(?: *#.*)?$", DEFINITIONS, re.MULTILINE)
    return sum(product(term) for term in value.split("+"))


def product(text: str) -> int:
    factors = [number(factor.strip()) for factor in text.split("*")]
    return int(np.prod(factors))


@pytest.mark.parametrize("name", DTYPES)
def test_a_dtype_has_the_fields_of_the_structure_in_their_places(name: str) -> None:
    ours, theirs = DTYPES[name], c_structure(name)
    assert {field: ours.fields[field] for field in ours.names} == {
        field: theirs.fields[field] for field in theirs.names
    }
    assert ours.itemsize == theirs.itemsize == _store.structures()[name.lower()]


@pytest.mark.parametrize(
    ("constant", "value"),
    [
        ("HEADER_SIZE", series.HEADER_SIZE),
        ("PAGE_BUCKETS", series.PAGE_BUCKETS),
        ("METRICS_TABLE", series.METRICS.table_offset),
        ("SLOTS_TABLE", series.SLOTS.table_offset),
        ("NAMES_TABLE", series.NAMES.table_offset),
        ("SERIES_TABLE", series.SERIES_TABLE.table_offset),
        ("METRICS_CHUNK", series.METRICS.chunk_length),
        ("SLOTS_CHUNK", series.SLOTS.chunk_length),
        ("NAMES_CHUNK", series.NAMES.chunk_length),
        ("SERIES_CHUNK", series.SERIES_TABLE.chunk_length),
        *[(kind.upper(), value) for kind, value in series.KINDS.items()],
    ],
)
def test_constants_are_the_same_on_both_sides(constant: str, value: int) -> None:
    assert number(constant) == value


def test_tables_do_not_overlap() -> None:
    tables = sorted(
        (table.table_offset, 8 * table.chunks)
        for table in (series.METRICS, series.SLOTS, series.NAMES, series.SERIES_TABLE)
    )
    ends = [number("LOG_OFFSET") + 2 * number("LOG_SLOT"), *(offset + size for offset, size in tables)]
    begins = [*(offset for offset, _ in tables), series.HEADER_SIZE]
    assert all(end <= begin for end, begin in zip(ends, begins, strict=True))
    assert series.HEADER.itemsize <= number("LOG_OFFSET")
