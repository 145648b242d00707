"""Whatever a file says, each of its lines is taken once or counted once, in memory that is bounded."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from shmtelemetry.sources.csv._rows import KINDS, MAX_LINE, REASONS, Rows
from shmtelemetry.sources.csv.columns import telemetry_log
from tests.csv_log import HEADER, line

COLUMNS = telemetry_log("a", "b", "c")
FIELDS: Any = COLUMNS.schema.dtype.fields
ROOM = 5
CELLS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["", " 1 ", '"1"', '"', '""', "1e999", "0x1", "nan", "-0", "+1", "1_0", ".", "1.", "\0", "\x80", "-"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
LINES = st.one_of(
    st.integers(1, 10**6).map(lambda number: line(number).encode()[:-1]),
    st.lists(CELLS, min_size=10, max_size=14).map(lambda cells: ",".join(cells).replace("\n", "").encode()),
    st.binary(max_size=200).map(lambda data: data.replace(b"\n", b"")),
    st.integers(MAX_LINE - 2, MAX_LINE + 2).map(lambda count: b"7" * count),
)


def rows() -> Rows:
    targets = [(kind, FIELDS[name][1], FIELDS[name][0].itemsize, d) for kind, name, d in COLUMNS.targets.values()]
    return Rows(targets, FIELDS["csv_line"][1], FIELDS["csv_offset"][1])


def taken(data: bytes, cuts: list[int]) -> tuple[list[tuple[Any, ...]], Counter[str], int, int]:
    """(records, refusals by reason, bytes taken, lines passed) of data that comes in pieces."""
    records = np.zeros(ROOM, COLUMNS.schema.dtype)
    parser, found, refused = rows(), list[tuple[Any, ...]](), Counter[str]()
    at, number = 0, 1
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        while True:
            piece, before = data[at:end], at
            filled, done, number, reason = parser.parse(
                piece, 0, records.view(np.uint8).reshape(ROOM, -1), 0, at, number
            )
            found += records[:filled].tolist()
            at += done
            if reason:
                refused[reason] += 1
            if at == before:
                break
    return found, refused, at, number - 1


@given(st.lists(LINES, max_size=30), st.lists(st.integers(0, 2**20), max_size=8))
@example([HEADER.encode(), line(1).encode()[:-1], b""], [3, 200])
def test_every_line_is_taken_once_or_refused_once_however_it_comes(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(part + b"\n" for part in parts)
    found, refused, at, passed = taken(data, cuts)
    assert taken(data, []) == (found, refused, at, passed)
    blank = sum(not part or part == b"\r" for part in parts)
    assert at == len(data)
    assert passed == len(parts)
    assert len(found) + refused.total() + blank == len(parts)
    assert set(refused) <= set(REASONS)
    places = [record[COLUMNS.schema.dtype.names.index("csv_offset")] for record in found]
    ends = set(itertools.accumulate(len(part) + 1 for part in parts))
    assert places == sorted(set(places))
    assert set(places) <= ends
    for record in found:
        assert all(np.isfinite(value) and value >= 0 for value in record if not isinstance(value, bytes))


@given(st.binary(max_size=500), st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=6))
def test_no_bytes_reach_beyond_their_field(data: bytes, kinds: list[str]) -> None:
    size = 8 * (len(kinds) + 2)
    records = np.full((4, size + 16), 0xAA, np.uint8)
    parser = Rows([(kind, 8 * at, 8, 9) for at, kind in enumerate(kinds)], size - 16, size - 8)
    parser.parse(data, 0, records, 0, 0, 1)
    assert (records[:, size:] == 0xAA).all()
