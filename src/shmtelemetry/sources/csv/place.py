"""Place: which rows are taken, as the newest record of the producer says; nothing else keeps it.

A ring's segment stays until the next one has records (layout.FLAG_HEIR), so that its last record is always there: after
a clean end, after kill -9, drained or not. What was published counts, and nothing is published twice.
"""

import hashlib
import os
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from ... import layout
from ..._drain import Drain
from ...errors import SegmentError, ShmtelError
from ...segment import DIRECTORY, Segment, segment_names
from .columns import PLACE

HEAD: Final = 1024  # bytes of a file's beginning that stand for it


@dataclass(frozen=True, slots=True)
class Place:
    """The end of a row. path: digest of the file's absolute path. head, mark: how many of the file's first bytes stand
    for it, at most HEAD, and their digest. header: where the line begins that names the row's columns, 0 if none does.
    offset: bytes of the file that are taken. line: of that row, from 1."""

    path: int
    head: int
    mark: int
    header: int
    offset: int
    line: int


def digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, usedforsecurity=False).digest(), "little")


def path_digest(path: str) -> int:
    return digest(os.fsencode(os.path.abspath(path)))


def last_place(namespace: str, producer: str, own: Segment | None = None) -> Place | None:
    """Where the newest record of a producer that has ended stood; None for none. own: is not looked at.

    Raises ShmtelError if a living process writes under this name.
    """
    newest: tuple[int, Place] | None = None
    for name in segment_names(namespace, producer):
        if own is not None and name == own.name:
            continue
        try:
            drain = Drain(name, layout.ROLE_NOBODY)
        except SegmentError as error:
            if os.path.lexists(os.path.join(DIRECTORY, name)):
                path = os.path.join(DIRECTORY, name)
                raise ShmtelError(
                    f"{error}: what {producer} has taken is not known; to begin anew, rm {path}"
                ) from error
            continue  # a reader has removed it: it had no records, or there is a newer one
        try:
            found = _last_place(drain, producer)
            created = int(drain.segment.header.created_ns)
            if found is not None and (newest is None or created > newest[0]):
                newest = created, found
        finally:
            drain.close()
    return None if newest is None else newest[1]


def _last_place(drain: Drain, producer: str) -> Place | None:
    segment = drain.segment
    if segment.header.created_ns > time.time_ns():
        raise ShmtelError(f"{segment.name} is of a time to come: the clock was set back; wait, or set it right")
    if segment.alive():
        raise ShmtelError(
            f"process {segment.header.pid} writes as {producer} in namespace {segment.namespace}: "
            "end it, or choose another name by --producer"
        )
    names = segment.schema.dtype.names or ()
    if not segment.header.flags & layout.FLAG_HEIR or not {name for name, _ in PLACE} <= set(names):
        return None
    drain.begin_with(1)
    records = drain.read(1)
    return _of_record(records[-1]) if len(records) else None


def _of_record(record: np.void) -> Place:
    return Place(*(int(record[name]) for name, _ in PLACE))
