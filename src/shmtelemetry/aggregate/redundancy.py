"""The redundancy in a state by which a changed bit is found when a reader opens it; what each protects is in
docs/decisions/0014.

CRC-32 is that of zlib, RFC 1952. Words that the loop changes are mixed by rotation and XOR instead, as in _state.pxd.
"""

import struct
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .series import BLOCK, FOLD, HEADER, NAME, SEALED, field_offset

Words = npt.NDArray[np.uint64]

_SERIES: Final = struct.Struct("<4Q")  # number, metric, kind, offset of the classic counts
_SLOT_FIELDS: Final = ("uuid", "name", "start_position", "capacity", "pid")
_SEALED: Final = field_offset(HEADER, "sealed")
FOLDS_LENGTH: Final = 40  # bits of a folds word that its check covers


def header_check(header: Any) -> int:
    """Of what stands before the first field that changes."""
    return zlib.crc32(header.tobytes()[: field_offset(HEADER, "size")])


def metric_check(number: int, stored: bytes) -> int:
    return zlib.crc32(stored, zlib.crc32(number.to_bytes(8, "little")))


def series_check(number: int, metric: int, kind: int, classic: int, stored: bytes) -> int:
    """stored: the labels; of a part without its producer's uuid, which changes."""
    return zlib.crc32(stored, zlib.crc32(_SERIES.pack(number, metric, kind, classic)))


def slot_check(entry: Any) -> int:
    return zlib.crc32(b"".join(entry[field].tobytes() for field in _SLOT_FIELDS))


def folds_word(offset: int, length: int) -> int:
    """What a slot stores of its Fold array; length: a power of two."""
    word = offset // BLOCK | (length.bit_length() - 1) << 32
    return word | _folds_check(word) << FOLDS_LENGTH


def folds_at(word: int) -> tuple[int, int]:
    """(offset, length). Raises ValueError for a word that was never stored."""
    if word == 0:
        return 0, 0
    known = word % (1 << FOLDS_LENGTH)
    if word != known | _folds_check(known) << FOLDS_LENGTH:
        raise ValueError("a segment's array of cells is not where it was")
    return known % 2**32 * BLOCK, 1 << (known >> 32)


def _folds_check(word: int) -> int:
    return zlib.crc32(word.to_bytes(8, "little")) >> 8


def rotated(check: Words, bits: int) -> Words:
    return check << np.uint64(bits) | check >> np.uint64(64 - bits)


def mixed(columns: Words) -> Words:
    """Of rows of words: shape (n, words) → (n,)."""
    check = np.zeros(len(columns), np.uint64)
    for at in range(columns.shape[1]):
        check = rotated(check, 9) ^ columns[:, at]
    return check


def name_checks(names: np.ndarray) -> Words:
    return mixed(names.view(np.uint64).reshape(-1, NAME.itemsize // 8)[:, : field_offset(NAME, "mark") // 8])


def are_folds(folds: np.ndarray) -> bool:
    """Whether each is what was stored for a cell or for a cumulative column."""
    words = folds.view(np.uint64).reshape(-1, FOLD.itemsize // 8)
    key, steps, amount, dropped = words.T
    cells = key == mixed(words[:, 1:])
    columns = (steps == np.where(amount, mixed(words[:, [2, 0]]), np.uint64(0))) & (dropped == 0)
    return bool(np.all(cells | columns))


def whole_check(view: memoryview) -> int:
    """Of all the bytes of a state, with 0 for the word that it goes into."""
    return SEALED | zlib.crc32(view[_SEALED + 8 :], zlib.crc32(bytes(8), zlib.crc32(view[:_SEALED])))
