"""What of a line is taken, and what is refused and why."""

from __future__ import annotations

import numpy as np
import pytest

from shmtelemetry.sources.csv._rows import MAX_LINE, Rows

RECORD = np.dtype(
    [
        ("u", "<u8"),
        ("real", "<f8"),
        ("amount", "<f8"),
        ("text", "S4"),
        ("at", "<u8"),
        ("line", "<u8"),
        ("offset", "<u8"),
    ]
)
KINDS = (("unsigned", "u", 0), ("real", "real", 0), ("amount", "amount", 0), ("text", "text", 0), ("time", "at", 9))


def rows() -> Rows:
    fields = RECORD.fields
    assert fields is not None
    targets = [(kind, fields[name][1], fields[name][0].itemsize, decimals) for kind, name, decimals in KINDS]
    return Rows(targets, fields["line"][1], fields["offset"][1])


def parse(data: bytes, room: int = 8) -> tuple[np.ndarray, int, int, str]:
    records = np.zeros(room, RECORD)
    filled, at, line, reason = rows().parse(data, 0, records.view(np.uint8).reshape(room, -1), 0, 100, 7)
    return records[:filled], at, line, reason


def one(data: bytes) -> np.void:
    records, at, _, reason = parse(data + b"\n")
    assert (len(records), at, reason) == (1, len(data) + 1, "")
    return records[0]


def test_each_kind_of_column_is_read() -> None:
    record = one(b"18446744073709551615,-1.5,2e3,ab,1703123456.789")
    assert record.tolist()[:5] == (2**64 - 1, -1.5, 2000.0, b"ab", 1_703_123_456_789_000_000)


def test_lines_and_offsets_are_counted_in_the_file() -> None:
    records, at, line, reason = parse(b"1,1,1,a,1\r\n\n2,2,2,b,2\n3,3,3,c")
    assert records["u"].tolist() == [1, 2]
    assert records["line"].tolist() == [7, 9]
    assert records["offset"].tolist() == [111, 122]
    assert (at, line, reason) == (22, 10, "")


def test_fields_may_be_in_quotes() -> None:
    assert one(b'"1"," 2.5 ",3,"a,""b",4')["text"] == b'a,"b'
    assert one(b'1,2,3,"",4')["text"] == b""


@pytest.mark.parametrize(
    "text",
    [
        "0.1",
        "3.3",
        "123456789.123456",
        "1e22",
        "1.7976931348623157e308",
        "0.000001",
        "+5",
        "5e-324",
        "9007199254740993",
    ],
)
def test_real_numbers_are_those_of_python(text: str) -> None:
    assert one(f"1,{text},0,a,1".encode())["real"] == float(text)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,1,1,a", "columns"),
        (b"1,1,1,a,1,1", "columns"),
        (b"x,1,1,a", "columns"),
        (b",1,1,a,1", "number"),
        (b"1.5,1,1,a,1", "number"),
        (b"0x10,1,1,a,1", "number"),
        (b"1,nan,1,a,1", "number"),
        (b"1,inf,1,a,1", "number"),
        (b"1,-Infinity,1,a,1", "number"),
        (b"1,1__0,1,a,1", "number"),
        (b"1,.,1,a,1", "number"),
        (b"1," + b"1" * 65 + b",1,a,1", "number"),
        (b"1,1e999,1,a,1", "range"),
        (b"18446744073709551616,1,1,a,1", "range"),
        (b"99999999999999999999999,1,1,a,1", "range"),
        (b"1,1,1,a,99999999999", "range"),
        (b"-1,1,1,a,1", "negative"),
        (b"1,1,-0.5,a,1", "negative"),
        (b"1,1,1,a,1.5x", "number"),
        (b"1,1,1,a,1.", "number"),
        (b"1,1,1,abcde,1", "length"),
        (b"1,1,1,\xff,1", "utf8"),
        (b"1,1,1,a\0,1", "nul"),
        (b'1,1,1,"a,1', "quote"),
        (b'1,1,1,"a"b,1', "quote"),
        (b"1,1,1,a," + b"0" * MAX_LINE, "long"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(line: bytes, reason: str) -> None:
    records, at, next_line, said = parse(b"1,1,1,a,1\n" + line + b"\n2,2,2,b,2\n")
    assert (len(records), at, next_line, said) == (1, 10 + len(line) + 1, 9, reason)


def test_an_array_that_is_full_ends_it() -> None:
    records, at, _, reason = parse(b"1,1,1,a,1\n" * 5, room=3)
    assert (len(records), at, reason) == (3, 30, "")


def test_there_are_bounds_for_the_columns() -> None:
    with pytest.raises(ValueError, match="columns"):
        Rows([], 0, 0)
    with pytest.raises(ValueError, match="columns"):
        Rows([("ignore", 0, 8, 0)] * 257, 0, 0)
