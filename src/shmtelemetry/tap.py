"""Tap: a look at one producer's records that consumes nothing."""

from collections.abc import Iterable, Iterator

import numpy as np

from . import layout
from .errors import SegmentError
from .following import Follower, Records, dtype_of
from .segment import Segment


class Tap(Follower):
    """Follows every segment of one producer's name, next to whoever drains it.

    It writes nothing into them and takes no lock: neither the producer nor the reader can tell that it is there.

    name, namespace: of the producer, which may start later, end, fork and start again. last: how many of the records
    that are there already come first, 0 or more; they may be those of a producer that has ended, however it ended. A
    segment that is not valid is logged and left aside, and so is another user's, unless allow_uids names its owner. A
    Tap belongs to its process, and to one thread at a time.
    """

    def __init__(self, name: str, namespace: str = "default", *, last: int = 0, allow_uids: Iterable[int] = ()) -> None:
        if not isinstance(last, int) or last < 0:
            raise ValueError(f"last {last!r}: expected 0 or more records")
        super().__init__(name, namespace, layout.ROLE_NOBODY, allow_uids)
        self._begin_with(last)

    def _begin_with(self, wanted: int) -> None:
        """Let the newest records come first, of the newest segments and of one dtype."""
        newest: np.dtype[np.void] | None = None
        for drain in reversed(tuple(self._drains)):
            newest = newest or dtype_of(drain)
            if dtype_of(drain) != newest:
                wanted = 0
            try:
                wanted -= drain.begin_with(wanted)
            except SegmentError as error:
                self._leave(drain.segment.name, error)
                self._forget(drain)

    @property
    def missed(self) -> int:
        """Records that were overwritten before this tap read them: it fell behind by more than the ring holds.

        Those of a producer that came and went between two reads are not known.
        """
        return self._lost + sum(drain.lost for drain in self._drains)

    def read(self, max_records: int | None = None) -> Records:
        """Records since the last read in the order of their segments, at most `max_records`: a copy.

        Shape (n,), of the producer's dtype; n is 0 when there is nothing. No record is torn, and none comes twice.
        Records of another dtype, of a producer that was changed and started again, are left to the next read. Those of
        instruments are SAMPLEs, which name their series by its number in their segment. Raises ValueError after
        `close`, RuntimeError in a forked child.
        """
        return self._read(max_records)

    def batches(self, max_records: int | None = None) -> Iterator[tuple[Segment, Records]]:
        """The same for each segment by itself, and of whatever dtype; the segment says what the records mean."""
        return self._batches(max_records)
