"""Consumer: drains one producer's records, whichever process or incarnation of it wrote them."""

import contextlib
import os
from collections.abc import Iterable

from . import layout
from ._drain import Drain
from .errors import SegmentError
from .following import Follower, Records
from .recordings import is_recording, prune


class Consumer(Follower):
    """Drains every segment of one producer's name, the oldest first.

    name, namespace: of the producer, which may start later, end, fork and start again. A segment whose
    producer has ended is unlinked once it is drained; of overwrite_oldest the newest four stay for a look at their last
    records. One that is not a valid segment is logged and left aside, and so is another user's, unless allow_uids names
    its owner. A Consumer belongs to its process, and to one thread at a time.

    Raises ReaderBusyError, here or in `read`, where somebody else consumes one of the segments.
    """

    def __init__(self, name: str, namespace: str = "default", *, allow_uids: Iterable[int] = ()) -> None:
        super().__init__(name, namespace, layout.ROLE_CONSUMER, allow_uids)

    def read(self, max_records: int | None = None) -> Records:
        """Records in the order of their segments, at most `max_records`: a copy, drained and released.

        Shape (n,), of the producer's dtype; n is 0 when there is nothing. Records of another dtype, of a
        producer that was changed and started again, are left to the next read. What an overwrite_oldest producer wrote
        over before it was read is counted as `overwritten` in its stats. Raises ReaderBusyError where a new segment is
        consumed by somebody else, ValueError after `close`, RuntimeError in a forked child.
        """
        return self._read(max_records)

    def close(self) -> None:
        """Give the segments back to whoever wants to consume them next; unlink those ended and drained."""
        for drain in self._drains:
            with contextlib.suppress(SegmentError):
                if self._pid == os.getpid() and not drain.segment.alive() and not drain.available():
                    self._end(drain)
        super().close()

    def _end(self, drain: Drain) -> None:
        try:
            if is_recording(drain.segment):
                prune(self.namespace, self.name)
            else:
                drain.segment.unlink()
        except OSError as error:  # another user's file in a sticky directory
            self._leave(drain.segment.name, error)
