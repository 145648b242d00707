"""Feed: gives the records of rings with events to a sink, as fast as that takes them, beside the loop that aggregates.

It looks at rings as a tap does, from where the sink has them to where the aggregates have them. The loop holds back for
it what it has not told as stored (Agent.set_stored), up to half a ring. What is written over nevertheless is let go of,
and counted: at once, by the positions of the ring, and by the sink when it takes what is behind it.
"""

import logging
import threading
from collections.abc import Collection
from typing import Final

import numpy as np

from .. import layout
from .._drain import Drain
from ..errors import SegmentError, one_line
from ..events import Batch, EventSink, Ring, Totals
from ..segment import Segment, log_context
from ._agent import Agent

logger = logging.getLogger("shmtelemetry")

PERIOD: Final = 0.05  # seconds between two looks while there is nothing
PAUSE: Final = 0.5  # seconds after the sink has failed
ROOM: Final = 32768  # records that the sink is given at once; each ring has a share of them
SMALLEST: Final = 64  # such share
BYTES: Final = 4 * 2**20  # of one ring at once


class Feed:
    """The keeper says which rings there are; only the thread that turns touches their taps and the sink."""

    def __init__(self, sink: EventSink, agent: Agent, allow_uids: Collection[int]) -> None:
        self._sink, self._agent, self._allow_uids = sink, agent, allow_uids
        self._rings: dict[bytes, _Fed] = {}  # by uuid
        self._lock = threading.Lock()  # of that dict, and of what the keeper says of a ring
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._failing = False
        self._totals: Totals | None = None  # of the sink, once it has said them
        self._aside = 0  # events that were let go of in rings that are left aside by now

    # ---- the keeper's side ----

    def add(self, segment: Segment, number: int | None, end: int = 0) -> None:
        """Take a segment's events. number: of its ring with the agent; None if it is drained, up to `end`.

        Raises SegmentError.
        """
        if segment.header.uuid in self._rings:  # a copy of it
            return
        joined = end if number is None else self._agent.position(number)
        fed = _Fed(Drain(segment.name, layout.ROLE_NOBODY, self._allow_uids), number, end, joined)
        with self._lock:
            self._rings[segment.header.uuid] = fed

    def leave(self, uuid: bytes) -> None:
        """The agent is about to forget a drained ring: the segment stays until `lacks` says 0."""
        with self._lock:
            if (fed := self._rings.get(uuid)) is not None and fed.number is not None:
                fed.end = self._agent.position(fed.number)
                fed.number = None

    def lacks(self, uuid: bytes) -> int:
        """How many records of a segment are in the aggregates and not stored; 0 for one without events."""
        with self._lock:
            fed = self._rings.get(uuid)
            return fed.lacks(self._agent) if fed is not None else 0

    def figures(self) -> tuple[Totals | None, int]:
        """What is stored and let go of, None until the sink has said what was before; and how many records wait."""
        with self._lock:
            lost, waiting = self._aside, 0
            for fed in self._rings.values():
                gone, here = fed.pending(self._agent)
                lost, waiting = lost + gone, waiting + here
            if self._totals is None:
                return None, waiting
            return Totals(self._totals.stored, self._totals.let_go + lost), waiting

    def forget(self, uuid: bytes) -> None:
        """A segment goes. Of what is not stored by now, only the count is."""
        self.leave(uuid)
        with self._lock:
            if uuid in self._rings:
                self._rings[uuid].going = True

    # ---- turns ----

    def turn(self) -> int:
        """Store what there is now, of each ring a share; returns how many records. Raises whatever the sink does."""
        with self._lock:
            rings = list(self._rings.items())
        share = max(SMALLEST, ROOM // len(rings)) if rings else 0
        batches = [batch for uuid, fed in rings if (batch := self._next(uuid, fed, share)) is not None]
        if self._totals is None:  # only now, when it is known what each ring lacks: what was shown does not fall
            self._totals = self._sink.totals()
        if not batches:
            return 0
        self._sink.store(batches)
        stored, let_go = sum(len(batch.records) for batch in batches), sum(batch.let_go for batch in batches)
        with self._lock:
            self._totals = Totals(self._totals.stored + stored, self._totals.let_go + let_go)
            for batch in batches:
                fed = self._rings[batch.ring.uuid]
                fed.stored_up_to(batch.end)
                fed.tell(self._agent)
        return stored + let_go

    def _next(self, uuid: bytes, fed: "_Fed", share: int) -> Batch | None:
        """What is to be stored of a ring; one that cannot be read, or that goes and has nothing, is dropped."""
        try:
            fed.learn(self._sink)
            with self._lock:
                batch = fed.next(fed.until(self._agent), share)
                fed.tell(self._agent)
                until = fed.until(self._agent)
            if batch is not None:
                fed.check(batch, until)
            elif fed.going:
                self._drop(uuid, fed)
        except (SegmentError, ValueError) as error:
            logger.warning("events of %s are left aside: %s", fed.name, one_line(error), extra=log_context(fed.name))
            self._drop(uuid, fed)
            return None
        return batch

    def _drop(self, uuid: bytes, fed: "_Fed") -> None:
        with self._lock:
            self._aside += fed.pending(self._agent)[0]
            del self._rings[uuid]
            if fed.number is not None:
                self._agent.let_go(fed.number)
        fed.close()

    def catch_up(self) -> int:
        """Store all that there is, unless the sink fails; returns how many records."""
        count = 0
        try:
            while more := self.turn():
                count += more
        except Exception as error:  # a full disk, or a database that somebody holds: nobody else waits for it
            if not self._failing:
                logger.warning("events wait in their rings, and are let go of where those are half full: %s", error)
            self._failing = True
        else:
            self._failing = False
        return count

    # ---- the thread ----

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="shmtel-events", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.catch_up()
            self._stopping.wait(PAUSE if self._failing else PERIOD)

    def stop(self) -> None:
        if self._thread is not None:
            self._stopping.set()
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Let go of all taps. Not while the thread runs."""
        for fed in self._rings.values():
            fed.close()
        self._rings.clear()


class _Fed:
    """One segment, and how far its events are stored."""

    def __init__(self, tap: Drain, number: int | None, end: int, joined: int) -> None:
        header = tap.segment.header
        self._tap, self.number, self.end, self._joined = tap, number, end, joined
        self._capacity = header.capacity
        self.name = tap.segment.name
        self._ring = Ring(header.uuid, tap.segment.producer, tap.segment.schema, header.start_position)
        self._most = max(1, BYTES // header.record_size)
        self._overwrites = header.policy == layout.POLICIES["overwrite_oldest"]
        self._stored: int = header.start_position
        self._known = False  # whether that is what the sink says
        self._batch: Batch | None = None  # that the sink has not taken yet
        self.going = False

    def until(self, agent: Agent) -> int:
        """Up to where the aggregates have the ring."""
        return self.end if self.number is None else agent.position(self.number)

    def lacks(self, agent: Agent) -> int:
        return max(0, _ahead(self.until(agent), self._stored))

    def pending(self, agent: Agent) -> tuple[int, int]:
        """How many records that are in the aggregates and not stored are let go of, and how many wait."""
        until = self.until(agent)
        if self._batch is not None:
            begin, gone = self._batch.end, self._batch.let_go
        else:
            begin, gone = self._stored if self._known else self._joined, 0
        written = until if self.number is None else agent.written(self.number)
        rest = max(0, _ahead(until, begin))
        gone += rest if self.going else min(rest, max(0, _ahead(written - self._capacity, begin)))
        return gone, max(0, self.lacks(agent) - gone)

    def learn(self, sink: EventSink) -> None:
        """Ask the sink up to where it has the ring. Raises whatever that does."""
        if not self._known:
            self._stored = sink.position(self._ring)
            self._tap.begin_at(self._stored)
            self._known = True

    def next(self, until: int, share: int) -> Batch | None:
        """What is to be stored next; None for nothing. Raises SegmentError."""
        if self._batch is None and (count := _ahead(until, self._stored)) > 0:
            self._batch = self._rest(count) if self.going else self._read(min(count, share, self._most))
        return self._batch

    def _read(self, count: int) -> Batch:
        records = self._tap.read(count)
        return Batch(self._ring, self._stored, _ahead(self._tap.position, self._stored) - len(records), records)

    def _rest(self, count: int) -> Batch:
        """None of the records that are left, only their count."""
        return Batch(self._ring, self._stored, count, np.empty(0, self._ring.schema.dtype))

    def check(self, batch: Batch, until: int) -> None:
        """Nothing is written over before the aggregates have it. Raises SegmentError for a segment that lies."""
        if not self._overwrites and _ahead(batch.begin + batch.let_go, until) > 0:
            raise SegmentError(f"{self.name}: its positions cannot be")

    def stored_up_to(self, position: int) -> None:
        self._stored, self._batch = position, None

    def tell(self, agent: Agent) -> None:
        """Let the loop give back what is stored."""
        if self.number is not None:
            agent.set_stored(self.number, self._stored)

    def close(self) -> None:
        self._tap.close()


def _ahead(position: int, other: int) -> int:
    """How far one position is ahead of another; they wrap."""
    return (position - other + 2**63) % 2**64 - 2**63
