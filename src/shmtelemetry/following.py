"""Follower: the segments of one producer's name, as they come and go, read one after the other."""

import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from ._drain import Drain
from .errors import SegmentError, one_line
from .segment import DIRECTORY, Segment, check_name, check_uids, log_context, segment_names

# A file that appears within the same tick of the kernel's clock as a listing leaves the directory's time as
# it was: a time that is so young does not say yet that nothing changed.
YOUNG_NS: Final = 100_000_000

Records = npt.NDArray[np.void]

logger = logging.getLogger("shmtelemetry")


class Follower:
    """What a Consumer and a Tap have in common. role: what it is to a segment, as Drain has it."""

    def __init__(self, name: str, namespace: str, role: int, allow_uids: Iterable[int]) -> None:
        self._allow_uids = check_uids(allow_uids)
        self.name, self.namespace, self._role = check_name("producer", name), check_name("namespace", namespace), role
        self._drains: list[Drain] = []
        self._aside: set[str] = set()  # names in the directory that are not to be tried again
        self._lost = 0  # records of segments that are done
        self._listed = -1  # time of the directory's last change that a listing has seen
        self._dtype: np.dtype[np.void] | None = None
        self._pid = os.getpid()
        self._closed = False
        try:
            self._look()
        except BaseException:
            self.close()
            raise

    @property
    def dtype(self) -> np.dtype[np.void] | None:
        """Of the last batch, or before that of the oldest segment; None before the first segment."""
        return self._dtype

    def _read(self, max_records: int | None) -> Records:
        """Records of one dtype, in the order of their segments."""
        batches = [batch for _, batch in self._batches(max_records, one_dtype=True)]
        if batches:
            self._dtype = batches[0].dtype
        return joined(batches, np.dtype([]) if self._dtype is None else self._dtype)

    def _batches(self, max_records: int | None = None, *, one_dtype: bool = False) -> Iterator[tuple[Segment, Records]]:
        """What each segment has, the oldest segment first."""
        if max_records is not None and (not isinstance(max_records, int) or max_records < 0):
            raise ValueError(f"max_records {max_records!r}: expected 0 or more, or None")
        self._check_usable()
        self._look()
        room, dtype = max_records, None
        for drain in tuple(self._drains):
            if room == 0:
                break
            if one_dtype and dtype not in (None, dtype_of(drain)):
                if self._has_records(drain):
                    break
                continue
            batch = self._take(drain, room)
            if len(batch):
                dtype = batch.dtype
                room = None if room is None else room - len(batch)
                yield drain.segment, batch

    def close(self) -> None:
        """Let go of the segments."""
        self._closed = True
        drains, self._drains = self._drains, []
        for drain in drains:
            self._lost += drain.lost
            drain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.namespace}.{self.name} of {len(self._drains)} segments>"

    def __reduce__(self) -> Any:
        raise TypeError(f"a {type(self).__name__} belongs to its process: open another one in the other process")

    def _check_usable(self) -> None:
        if self._closed:
            raise ValueError(f"the {type(self).__name__} of {self.name} is closed")
        if self._pid != os.getpid():
            raise RuntimeError(f"this {type(self).__name__} belongs to process {self._pid}, not to its forked child")

    def _look(self) -> None:
        """Attach to the segments that appeared since the last look."""
        changed = os.stat(DIRECTORY).st_mtime_ns
        if changed == self._listed:
            return
        names = set(segment_names(self.namespace, self.name))
        self._aside &= names
        for name in names - self._aside - {drain.segment.name for drain in self._drains}:
            self._attach(name)
        self._drains.sort(key=lambda drain: int(drain.segment.header.created_ns))
        if self._dtype is None and self._drains:
            self._dtype = dtype_of(self._drains[0])
        self._listed = changed if abs(time.time_ns() - changed) > YOUNG_NS else -1

    def _attach(self, name: str) -> None:
        try:
            self._drains.append(Drain(name, self._role, self._allow_uids))
        except SegmentError as error:
            gone = isinstance(error.__cause__, FileNotFoundError)  # unlinked since the listing
            if not gone:
                self._leave(name, error)

    def _leave(self, name: str, error: Exception) -> None:
        self._aside.add(name)
        logger.warning("left aside: %s", one_line(error), extra=log_context(name))

    def _has_records(self, drain: Drain) -> bool:
        try:
            return bool(drain.available())
        except SegmentError:
            return False  # `_take` will say so

    def _take(self, drain: Drain, room: int | None) -> Records:
        """What one segment has; one that has nothing more, and never will, is forgotten."""
        limit = drain.segment.header.capacity if room is None else room
        try:
            batch = drain.read(limit)
            if len(batch) or drain.segment.alive():
                return batch
            batch = drain.read(limit)  # what was written between the first read and the producer's end
            if not drain.available() and not len(batch):
                self._end(drain)
                self._forget(drain)
            return batch
        except SegmentError as error:
            self._leave(drain.segment.name, error)
            self._forget(drain)
            return np.empty(0, dtype_of(drain))

    def _end(self, drain: Drain) -> None:
        """Its producer has ended, and all of it is read."""

    def _forget(self, drain: Drain) -> None:
        self._aside.add(drain.segment.name)  # it may stay in the directory
        self._lost += drain.lost
        self._drains.remove(drain)
        drain.close()


def joined(batches: Sequence[Records], dtype: np.dtype[np.void]) -> Records:
    """All in one array; numpy's concatenate would repack a padded dtype."""
    if len(batches) == 1:
        return batches[0]
    found = np.empty(sum(map(len, batches)), dtype)
    begin = 0
    for batch in batches:
        found[begin : begin + len(batch)] = batch
        begin += len(batch)
    return found


def dtype_of(drain: Drain) -> np.dtype[np.void]:
    dtype: np.dtype[np.void] = drain.segment.schema.dtype
    return dtype
