"""Attachment: one segment in the reader's hands, and how what its records name becomes series of the state."""

from dataclasses import dataclass
from functools import lru_cache

from .. import layout
from ..aggregate._kernels import Buckets
from ..aggregate.series import SERIES_TABLE, SLOT, SLOT_LIVE, SLOTS, TWICE, field_offset
from ..aggregate.state import State
from ..aggregate.view import decode_labels
from ..errors import SegmentError, StateError
from ..metric import Metric
from ..schema import SAMPLE
from ..segment import Segment
from ._agent import Agent
from .record_plan import RecordPlan

NO_BUCKETS = Buckets(())
SHARE = 1024  # records of a catalogue that are learned at once; other rings are served before the next
MAX_METRICS = 4096  # of one segment: all those of a namespace share one table
LEAST_PAYLOAD = {
    layout.KIND_SERIES: layout.CELL_SIZE + layout.SERIES_METRIC.size,
    layout.KIND_RETIRE: layout.RETIRE.size,
    layout.KIND_EXEMPLAR: layout.EXEMPLAR.size,
}


class Attachment:
    """A ring of the agent's, set up from the segment's schema and catalogue.

    slot: number of the state's slot that the segment had with an earlier reader. events: whether a store takes its
    records as well. elder: slot of the segment that it is the heir of. Raises SegmentError or ValueError for
    a segment whose description cannot be used.
    """

    def __init__(
        self,
        agent: Agent,
        state: State,
        segment: Segment,
        slot: int | None,
        events: bool = False,
        elder: int | None = None,
    ) -> None:
        self.segment = segment
        self._agent, self._state = agent, state
        self._metrics: list[int | None] = []  # number in the catalogue → number in the state
        self._buckets: dict[int, Buckets] = {}
        self._learned = 0  # bytes of the catalogue
        self._series: list[int] = []  # number in the catalogue → number in the state, -1 for none
        self._retiring = (0, 0)  # retirements up to this byte of the catalogue wait for this position of the ring
        self.number = -1  # of the ring
        header = segment.header
        self._plan = None if header.flags & layout.FLAG_INSTRUMENTS else RecordPlan(state, segment)
        self._settled = 0  # bytes of the catalogue whose retirements were done before
        if self._plan is None and segment.schema.dtype != SAMPLE:
            raise SegmentError(f"{segment.name}: instruments with records of {segment.schema.dtype}")
        self._known = known = slot is not None
        if slot is None:
            slot = state.open_slot(header.uuid, segment.producer, header.start_position, header.capacity, header.pid)
            if elder is not None:
                state.copy_folds(elder, slot)
        self.slot = slot
        try:
            self.number = agent.add(segment, state.place(SLOTS, slot), header.process.visible(), events)
            self._set_up(slot)
        except BaseException:
            if self.number >= 0:
                agent.remove(self.number)
            if not known:
                state.free_slot(header.uuid)
            raise

    def _set_up(self, slot: int) -> None:
        if self._plan is None:
            self._settled = int(self._state.entry(SLOTS, slot)["settled"]) % 2**32
            self.learn()
            if not self._known and self._was_read():
                self._agent.skip_cells(self.number)  # they are in a state that somebody has removed
        elif self._plan.columns:
            self._plan.install(self._agent, self.number)
            self._plan.restore(slot)
            for metric in self._plan.metrics:
                self._state.lives.use_metric(metric)

    def resolve(self) -> None:
        """Find places for the series that the ring's next records name."""
        if self._plan is not None:
            for key in self._agent.wanted_keys(self.number):
                self._plan.add_group(self._agent, self.number, self.slot, key)
        self.learn()

    def learn(self) -> bool:
        """Read the next definitions that are new in the catalogue; returns whether there are more."""
        if self._plan is not None:
            return False
        stored = self.segment.catalogue(self._learned)
        gone = self._retired_before(stored)
        new: list[_NewSeries] = []
        places: list[tuple[int, int, int]] = []  # of exemplars
        at = count = 0
        more = False
        try:
            while at < len(stored) and count < SHARE:
                kind, flags, payload, size = catalogue_record(self.segment.name, stored, at)
                if kind == layout.KIND_METRIC:
                    if len(self._metrics) == MAX_METRICS:
                        raise SegmentError(f"{self.segment.name}: more than {MAX_METRICS:,} metrics")
                    self._metrics.append(self._state.define(self._metric(payload)))
                elif kind == layout.KIND_SERIES:
                    retired = flags & layout.FLAG_RETIRED or len(self._series) + len(new) in gone
                    number, bounds = (-1, NO_BUCKETS) if retired else self._place(payload)
                    new.append(_NewSeries(number, self._learned + at + layout.CATALOGUE_RECORD.size, bounds))
                elif kind == layout.KIND_EXEMPLAR:
                    room, series = _exemplar_place(self.segment.name, payload, len(self._series) + len(new))
                    places.append((self._learned + at + layout.CATALOGUE_RECORD.size, room, series))
                elif kind == layout.KIND_RETIRE and self._learned + at >= self._settled:
                    self._add(new)
                    if not self._retire(payload, self._learned + at, self._learned + len(stored)):
                        return False
                at, count = at + size, count + 1
            more = at < len(stored)
            return more
        finally:  # what raises, for want of memory, is tried again from where it came to
            self._add(new)
            if places:
                self._agent.add_places(self.number, *zip(*places, strict=True))
            self._learned += at
            self._agent.set_learned(self.number, self._learned, more)

    def _add(self, new: "list[_NewSeries]") -> None:
        """Let records of further series count; `new` is empty then."""
        if not new:
            return
        self._ensure_folds(len(self._series) + len(new))
        offsets = [self._offset(series.number) for series in new]
        self._agent.set_targets(self.number, offsets, [one.cell for one in new], [one.buckets for one in new])
        self._series += [one.number for one in new]
        new.clear()

    # ---- retirements ----

    def _retired_before(self, stored: bytes) -> set[int]:
        """Numbers of the series that an earlier reader let go of already."""
        gone = set()
        at = 0
        while at < min(len(stored), self._settled - self._learned):
            kind, _, payload, size = catalogue_record(self.segment.name, stored, at)
            if kind == layout.KIND_RETIRE:
                gone.add(_retired_number(payload))
            at += size
        return gone

    def _retire(self, payload: bytes, begin: int, end: int) -> bool:
        """Let go of a series; False if records that were emitted before are not drained yet.

        begin: of the record in the catalogue. end: of the catalogue, as far as it is known.
        """
        number = _retired_number(payload)
        if number >= len(self._series):
            raise SegmentError(f"{self.segment.name}: series {number} is retired, of {len(self._series)}")
        if self._series[number] < 0:
            return True
        if self._state.lives.gathering:  # others may have the series, and are not found yet
            return False
        until, position = self._retiring
        if begin >= until:
            self._retiring = until, position = end, self._agent.written(self.number)
        if not self._agent.is_drained(self.number, position):
            return False
        self._agent.remove_target(self.number, number)
        self._state.lives.remove(self._series[number])
        self._series[number] = -1
        place = self._state.place(SLOTS, self.slot) + field_offset(SLOT, "settled")
        self._state.mapping.store(place, (begin + layout.CATALOGUE_RECORD.size + layout.RETIRE.size) * TWICE)
        return True

    def _ensure_folds(self, count: int) -> None:
        """Without memory for them records are counted all the same, and cells wait until there is."""
        try:
            self._state.ensure_folds(self.slot, count)
        except StateError as error:
            self._state.warn_once("folds", f"steps that meet a full ring stay in their cells: {error}")

    def _metric(self, stored: bytes) -> Metric:
        try:
            return _short_metric(stored) if len(stored) <= SHORT else Metric.from_json(stored)
        except Exception as error:  # whatever a stored definition of other types leads to
            raise SegmentError(f"{self.segment.name}: a metric that cannot be: {error}") from error

    def _place(self, payload: bytes) -> tuple[int, Buckets]:
        """(number of the series in the state or -1, bounds) for a series record."""
        begin = layout.CELL_SIZE
        number, count = layout.SERIES_METRIC.unpack_from(payload, begin)
        labels = decode_labels(payload[begin + layout.SERIES_METRIC.size :], count)
        if number >= len(self._metrics):
            raise SegmentError(f"{self.segment.name}: a series of metric {number}, of {len(self._metrics)}")
        metric = self._metrics[number]
        if metric is None:
            return -1, NO_BUCKETS
        if len(labels) + self._state.adds_producer(metric) != len(self._state.metrics[metric].labels):
            raise SegmentError(
                f"{self.segment.name}: a series of {self._state.metrics[metric].name} with {count} labels"
            )
        header = self.segment.header
        key = self._state.part_of(metric, labels, self.segment.producer, header.catalogue_of)
        series = self._state.series_number(metric, key)
        if metric not in self._buckets:
            self._buckets[metric] = Buckets(self._state.metrics[metric].buckets)
        if series >= 0:
            self._state.lives.use(series)
        return series, self._buckets[metric]

    def _offset(self, series: int) -> int:
        return self._state.place(SERIES_TABLE, series) if series >= 0 else -1

    def _was_read(self) -> bool:
        """Whether a reader has ever had the segment before."""
        return bool(self.segment.mapping.load(self.segment.header.reader_offset + layout.READER_SEEN))

    def begin(self) -> None:
        """It is set up: from here on all of the segment goes into the slot, whichever reader takes it."""
        self._state.set_slot_status(self.slot, SLOT_LIVE)
        # Not before: a reader that finds this and no slot takes what cells hold for that of a state which was removed.
        self.segment.mapping.store(self.segment.header.reader_offset + layout.READER_SEEN, 1)

    def end(self) -> None:
        """Its producer has ended, and all of it is in the state."""
        for number in self._series if self._plan is None else self._plan.used:
            if number >= 0:
                self._state.lives.leave(number)
        for metric in () if self._plan is None else self._plan.metrics:
            self._state.lives.leave_metric(metric)

    def release(self) -> None:
        """Leave it to the next reader."""
        release(self.segment)


def release(segment: Segment) -> None:
    """Say in a segment that no reader has it any more."""
    segment.mapping.store(segment.header.reader_offset + layout.READER_ROLE, layout.ROLE_NOBODY)


@dataclass(frozen=True, slots=True)
class _NewSeries:
    """A series of the segment's catalogue: number in the state, offset of its cell, bounds of its metric."""

    number: int
    cell: int
    buckets: Buckets


def _retired_number(payload: bytes) -> int:
    return int(layout.RETIRE.unpack_from(payload)[0])


def catalogue_record(name: str, stored: bytes, at: int) -> tuple[int, int, bytes, int]:
    """(kind, flags, payload, whole size) of the record at a place."""
    head = layout.CATALOGUE_RECORD.size
    if at + head > len(stored):
        raise SegmentError(f"{name}: the catalogue ends in the middle of a record")
    kind, flags, length = layout.CATALOGUE_RECORD.unpack_from(stored, at)
    least = LEAST_PAYLOAD.get(kind, 0)
    if length % 8 or not least <= length <= len(stored) - at - head:
        raise SegmentError(f"{name}: a catalogue record of {length:,} bytes in {len(stored) - at - head:,}")
    payload = stored[at + head : at + head + length]
    return kind, flags, payload.rstrip(b"\0") if kind == layout.KIND_METRIC else payload, head + length


def _exemplar_place(name: str, payload: bytes, known: int) -> tuple[int, int]:
    """(room of each slot, number of the series) of the place of an exemplar. known: how many series there are."""
    _, series, room = layout.EXEMPLAR.unpack_from(payload)
    size = layout.EXEMPLAR.size + 2 * (layout.EXEMPLAR_SLOT.size + room)
    if room % 8 or room > layout.EXEMPLAR_ROOMS[-1] or len(payload) < size:
        raise SegmentError(f"{name}: an exemplar of {room:,} bytes in {len(payload):,}")
    if series >= known:
        raise SegmentError(f"{name}: an exemplar of series {series}, of {known}")
    return room, series


_short_metric = lru_cache(maxsize=1024)(Metric.from_json)  # producers that come and go bring the same ones
SHORT = 2048  # bytes; nobody fills our memory with definitions
