"""The plan of a ring of records: which series of the state each set of their label values has."""

from itertools import accumulate

from ..aggregate._kernels import Buckets
from ..aggregate.series import FOLD, KINDS, SERIES_TABLE, digest
from ..aggregate.state import State
from ..errors import SegmentError, StateError
from ..metric import SECONDS_PER
from ..schema import Schema
from ..segment import Segment
from ._agent import Agent

MAX_FOLDS = 2**20  # label sets of one segment's cumulative columns


class RecordPlan:
    """How the records of a schema become series: the metrics of its fields, and a group of series for each set of label
    values."""

    def __init__(self, state: State, segment: Segment) -> None:
        schema: Schema = segment.schema
        self._state, self._segment = state, segment
        try:
            metrics = schema.metrics(segment.producer)
        except Exception as error:  # whatever stored names and helps that are no text lead to
            raise SegmentError(f"{segment.name}: a schema that cannot be: {error}") from error
        fields = {name: (item, offset) for name, item, offset in schema.fields()}
        self.columns: list[tuple[int, str, int, int, float, float, Buckets, int]] = []
        self.metrics: list[int] = []
        self._totals: list[bool] = []
        self._kept: list[list[int]] = []  # of each metric, which of the label fields it has
        places: dict[str | None, int] = {None: 0}  # of columns, counted from 1
        for name, (metric, factor, divisor) in sorted(metrics.items(), key=lambda item: item[1][0].kind == "histogram"):
            number, role = state.define(metric), schema.roles[name]
            if number is None or role.weight not in places:
                continue
            item, offset = fields[name]
            bounds, weight = Buckets(state.metrics[number].buckets), places[role.weight]
            self.columns.append((offset, item.kind, item.itemsize, KINDS[role.role], factor, divisor, bounds, weight))
            places[name] = len(self.columns)
            self.metrics.append(number)
            self._totals.append(role.role == "total")
            self._kept.append([at for at, label in enumerate(schema.label_fields) if label in schema.labels_of(name)])
        self._labels = [(name, *fields[name]) for name in schema.label_fields]
        times = [name for name, role in schema.roles.items() if role.role == "time"]
        self._time_offset = fields[times[0]][1] if times else -1
        unit = schema.roles[times[0]].unit if times else None
        self._time_ns = round(SECONDS_PER[unit or "ns"] * 1e9)
        self.used: set[int] = set()  # numbers of the series that its groups have
        self._folds = 0
        self._known_folds: dict[int, int] = {}  # digest of metric and label fields → index of the fold

    def install(self, agent: Agent, number: int) -> None:
        labels = [(offset, item.itemsize) for _, item, offset in self._labels]
        agent.set_plan(number, self.columns, self.metrics, labels, self._time_offset, self._time_ns)

    def restore(self, slot: int) -> None:
        """Nothing but the totals' last values has to survive a reader: their folds say whose they are."""
        offset, capacity = self._state.folds(slot)
        for at in range(capacity):
            key = int.from_bytes(self._state.block(offset + at * FOLD.itemsize, 8), "little")
            if key:
                self._known_folds[key] = at
                self._folds = at + 1

    def add_group(self, agent: Agent, number: int, slot: int, key: bytes) -> None:
        """Give a set of label values its series."""
        labels = self._label_values(key)
        producer, family = self._segment.producer, self._segment.header.catalogue_of
        series = [
            self._state.series_number(
                metric, self._state.part_of(metric, tuple(labels[at] for at in kept), producer, family)
            )
            for metric, kept in zip(self.metrics, self._kept, strict=True)
        ]
        folds = [-1] * len(series)
        for column, total in enumerate(self._totals):
            if total and series[column] >= 0:
                folds[column] = self._fold(slot, digest(self.metrics[column], key))
                if folds[column] < 0:  # without a last value of its own it would count everything again
                    series[column] = -1
        offsets = [self._state.place(SERIES_TABLE, at) if at >= 0 else -1 for at in series]
        for at in series:
            if at >= 0 and at not in self.used:
                self.used.add(at)
                self._state.lives.use(at)
        agent.add_group(number, key, offsets, folds)

    def _fold(self, slot: int, key: int) -> int:
        """Index of the fold with the last value of a cumulative column and label set; -1 without memory for it.

        Not by series: those of all label sets beyond the bound are one.
        """
        known = self._known_folds.get(key)
        if known is None:
            if self._folds == MAX_FOLDS:
                return -1
            try:
                self._state.ensure_folds(slot, self._folds + 1)
            except StateError:
                return -1
            offset = self._state.folds(slot)[0] + self._folds * FOLD.itemsize
            self._state.mapping.store(offset, key)
            known = self._known_folds[key] = self._folds
            self._folds += 1
        return known

    def _label_values(self, key: bytes) -> tuple[str, ...]:
        ends = list(accumulate(item.itemsize for _, item, _ in self._labels))
        values = []
        for (name, item, _), end in zip(self._labels, ends, strict=True):
            stored = key[end - item.itemsize : end]
            if item.kind == "S":
                values.append(stored.rstrip(b"\0").decode("utf-8", "replace"))
                continue
            number = int.from_bytes(stored, "little", signed=item.kind == "i")
            values.append((self._segment.schema.roles[name].values or {}).get(number, str(number)))
        return tuple(values)
