"""Consumer: drains one producer's records, whichever process or incarnation of it wrote them."""

import contextlib
import logging
import os
import time
from collections.abc import Iterable
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from ._ring import Drain
from .errors import SegmentError, one_line
from .segment import DIRECTORY, check_name, check_uids, segment_names

# A file that appears within the same tick of the kernel's clock as a listing leaves the directory's time as
# it was: a time that is so young does not say yet that nothing changed.
YOUNG_NS: Final = 100_000_000

logger = logging.getLogger("shmtelemetry")


class Consumer:
    """Drains every segment of one producer's name, the oldest first.

    name, namespace: of the producer, which may start later, end, fork and start again. A segment whose
    producer has ended is unlinked once it is drained. One that is not a valid segment is logged and left aside, and so
    is another user's, unless allow_uids names its owner.
    A Consumer belongs to its process, and to one thread at a time.

    Raises ReaderBusyError, here or in `read`, where somebody else consumes one of the segments.
    """

    def __init__(self, name: str, namespace: str = "default", *, allow_uids: Iterable[int] = ()) -> None:
        self._allow_uids = check_uids(allow_uids)
        self.name, self.namespace = check_name("producer", name), check_name("namespace", namespace)
        self._drains: list[Drain] = []
        self._aside: set[str] = set()  # names in the directory that are not to be tried again
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

    def read(self, max_records: int | None = None) -> npt.NDArray[np.void]:
        """Records in the order of their segments, at most `max_records`: a copy, drained and released.

        Shape (n,), of the producer's dtype; n is 0 when there is nothing. Records of another dtype, of a
        producer that was changed and started again, are left to the next read. Raises ReaderBusyError where a
        new segment is consumed by somebody else, ValueError after `close`, RuntimeError in a forked child.
        """
        if max_records is not None and (not isinstance(max_records, int) or max_records < 0):
            raise ValueError(f"max_records {max_records!r}: expected 0 or more, or None")
        self._check_usable()
        self._look()
        batches: list[npt.NDArray[np.void]] = []
        room = max_records
        for drain in tuple(self._drains):
            if room == 0:
                break
            if batches and _dtype(drain) != batches[0].dtype:
                if self._has_records(drain):
                    break
                continue
            batch = self._take(drain, room)
            if len(batch):
                batches.append(batch)
                room = None if room is None else room - len(batch)
        return self._joined(batches)

    def close(self) -> None:
        """Give the segments back to whoever wants to consume them next; unlink those ended and drained."""
        self._closed = True
        drains, self._drains = self._drains, []
        for drain in drains:
            with contextlib.suppress(SegmentError):
                if self._pid == os.getpid() and not drain.segment.alive() and not drain.available():
                    self._unlink(drain)
            drain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Consumer {self.namespace}.{self.name} of {len(self._drains)} segments>"

    def __reduce__(self) -> Any:
        raise TypeError("a Consumer belongs to its process: open another one in the other process")

    def _check_usable(self) -> None:
        if self._closed:
            raise ValueError(f"the Consumer of {self.name} is closed")
        if self._pid != os.getpid():
            raise RuntimeError(f"this Consumer belongs to process {self._pid}, not to its forked child")

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
            self._dtype = _dtype(self._drains[0])
        self._listed = changed if abs(time.time_ns() - changed) > YOUNG_NS else -1

    def _attach(self, name: str) -> None:
        try:
            self._drains.append(Drain(name, self._allow_uids))
        except SegmentError as error:
            gone = isinstance(error.__cause__, FileNotFoundError)  # unlinked since the listing
            if not gone:
                self._leave(name, error)

    def _leave(self, name: str, error: Exception) -> None:
        self._aside.add(name)
        logger.warning("left aside: %s", one_line(error))

    def _has_records(self, drain: Drain) -> bool:
        try:
            return bool(drain.available())
        except SegmentError:
            return False  # `_take` will say so

    def _take(self, drain: Drain, room: int | None) -> npt.NDArray[np.void]:
        """What one segment has; one that has nothing more, and never will, is unlinked and forgotten."""
        limit = drain.segment.header.capacity if room is None else room
        try:
            batch = drain.read(limit)
            if len(batch) or drain.segment.alive():
                return batch
            batch = drain.read(limit)  # what was written between the first read and the producer's end
            if not drain.available():
                self._unlink(drain)
                self._forget(drain)
            return batch
        except SegmentError as error:
            self._leave(drain.segment.name, error)
            self._forget(drain)
            return np.empty(0, _dtype(drain))

    def _unlink(self, drain: Drain) -> None:
        try:
            drain.segment.unlink()
        except OSError as error:  # another user's file in a sticky directory
            self._leave(drain.segment.name, error)

    def _forget(self, drain: Drain) -> None:
        self._drains.remove(drain)
        drain.close()

    def _joined(self, batches: list[npt.NDArray[np.void]]) -> npt.NDArray[np.void]:
        if not batches:
            return np.empty(0, np.dtype([]) if self._dtype is None else self._dtype)
        self._dtype = batches[0].dtype
        if len(batches) == 1:
            return batches[0]
        joined = np.empty(sum(map(len, batches)), self._dtype)  # concatenate would repack a padded dtype
        begin = 0
        for batch in batches:
            joined[begin : begin + len(batch)] = batch
            begin += len(batch)
        return joined


def _dtype(drain: Drain) -> np.dtype[np.void]:
    dtype: np.dtype[np.void] = drain.segment.schema.dtype
    return dtype
