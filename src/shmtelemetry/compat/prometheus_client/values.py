"""The series of one metric, under a name of its own in the namespace."""

import math
import os
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from prometheus_client.samples import Exemplar

from ...aggregate.snapshot import Family, Snapshot
from ...errors import ShmtelError
from ...metric import Metric
from ...producer import warn_once
from .._metrics import HistogramValue
from .places import MODES, Definition, Labels, left, place_of, undefine
from .store import store

PID: Final = "pid"  # the label by which a gauge of mode all tells processes apart

SPOILERS: Final = {"nan": math.nan, "inf": math.inf}  # by the suffix of the counter that counts such steps


class Values:
    """All series of one metric. name: as it is exposed, without a suffix."""

    def __init__(self, name: str, definition: Definition) -> None:
        self._place = place_of(name, definition)
        weakref.finalize(self, left.append, self._place).atexit = False

    # ---- writing ----

    def handle(self, labels: Labels) -> Any:
        """Where a series is written; None, with one warning, where there is no room for it."""
        return self._series(labels)

    def _series(self, labels: Labels, suffix: str = "", merge: str = "", keep: bool = False) -> Any:
        try:
            instrument = self._place.instruments.get(suffix) or self._defined(suffix, merge, keep)
            return instrument if instrument is None or not labels else instrument.labels(*labels)
        except ShmtelError as error:
            warn_once("no_series", f"a series of {self._place.name} is not counted: {error}")
            return None

    def _defined(self, suffix: str, merge: str, keep: bool) -> Any:
        if self._place.telemetry is None:
            self._place.telemetry = store().lend(self._place.former)
        telemetry, definition = self._place.telemetry, self._place.definition
        if telemetry is None:
            return None
        name, help = self._place.exposed(suffix), definition.help
        labels = definition.exposed_labels
        instrument: Any
        if suffix or definition.kind == "counter":
            instrument = telemetry.counter(name, help, labels)
        elif definition.kind == "gauge":
            instrument = telemetry.gauge(name, help, labels, merge=merge, keep=keep)
        else:
            instrument = telemetry.histogram(name, help, labels, buckets=definition.bounds)
        self._place.instruments[suffix] = instrument
        return instrument

    def emitting(self) -> None:
        """The first emit of this process."""
        store().stand_by()

    def spoil(self, labels: Labels, step: float) -> None:
        """Count a step that no total gets over."""
        counter = self._series(labels, "nan" if math.isnan(step) else "inf")
        if counter is not None:
            counter.inc()

    def remove(self, labels: Labels) -> None:
        """Take this process's part out of a series; used again it begins from zero."""
        for suffix, instrument in list(self._place.instruments.items()):
            if labels:
                instrument.remove(*labels)
            else:
                undefine(self._place, suffix)

    def renewed(self, labels: Labels) -> Any:
        """Where a series is written that begins again."""
        self.remove(labels)
        return self.handle(labels)

    # ---- reading ----

    def family(self, snapshot: Snapshot | None, suffix: str = "") -> Family | None:
        """All series, of every process, in the order in which they appeared; None before there are any."""
        family = self._found(snapshot, suffix)
        if family is None or family.label_names != self._place.definition.exposed_labels:
            return None
        return family if suffix or self._place.definition.agrees(family.metric) else None

    def _found(self, snapshot: Snapshot | None, suffix: str = "") -> Family | None:
        """The family of the name, whoever defined it."""
        return snapshot.families.get(self._place.exposed(suffix)) if snapshot is not None else None

    def dislodged(self, snapshot: Snapshot | None) -> bool:
        """Whether another process was first with another definition, so that all series must be opened anew."""
        family = self._found(snapshot)
        if family is None or not self._place.instruments or self._place.definition.agrees(family.metric):
            return False
        self._place.move()
        return True

    def read(self, labels: Labels) -> float:
        """The value of one series, the sum of a distribution; 0 before there is any."""
        family = self.family(store().snapshot())
        if family is None or labels not in family.labels:
            return 0.0
        return float(family.values[family.labels.index(labels)])

    def count(self, labels: Labels, bucket: int) -> float:
        """How many observations of one series fell into one bucket alone."""
        family = self.family(store().snapshot())
        if family is None or family.counts is None or labels not in family.labels:
            return 0.0
        return float(family.counts[family.labels.index(labels), bucket])


class GaugeValues(Values):
    """Those of a gauge. Without a mode, how any process uses it first decides: inc and dec make a sum of the living
    processes' values, set makes the last value."""

    asks = False  # whether a child has a function to ask
    _merge = ""  # as it was opened

    def __init__(self, name: str, definition: Definition) -> None:
        if definition.mode.endswith("all"):
            definition = replace(definition, labels=(*definition.labels, PID))
        super().__init__(name, definition)

    @property
    def by_process(self) -> bool:
        return self._place.definition.mode.endswith("all")

    @property
    def undecided(self) -> bool:
        return not self._place.definition.mode and not self._place.instruments

    def others_use(self) -> Metric | None:
        """How another process has decided, where this one has not."""
        family = self.family(store().snapshot()) if self.undecided else None
        return family.metric if family is not None else None

    def step(self, labels: Labels, adding: bool, others: Metric | None) -> Any:
        """Where this process's value is written. others: what others_use has said."""
        merge, keep = MODES[self._place.definition.mode or ("livesum" if adding else "mostrecent")]
        if self.undecided and others is not None:
            merge, keep = others.merge, others.keep
        if not self._place.instruments:
            self._merge = merge
        return self._series(self.own(labels), merge=merge, keep=keep)

    def dislodged(self, snapshot: Snapshot | None) -> bool:
        """Also where this process and another one began at the same moment, each with a use of its own."""
        opened, family = self._place.instruments.get(""), self.family(snapshot)
        if self._place.definition.mode or opened is None or family is None or family.metric.merge == self._merge:
            return super().dislodged(snapshot)
        undefine(self._place, "")
        return True

    def remove(self, labels: Labels) -> None:
        super().remove(self.own(labels))

    def own(self, labels: Labels) -> Labels:
        """The label values of this process's series."""
        return (*labels, str(os.getpid())) if self.by_process else labels

    def read(self, labels: Labels) -> float:
        return super().read(self.own(labels))


class Buckets(Sequence["Bucket"]):
    """The buckets of one distribution, as prometheus_client's methods use them."""

    def __init__(self, value: HistogramValue, length: int) -> None:
        self._value, self._length = value, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, at: Any) -> Any:
        return Bucket(self._value, range(self._length)[at])


class Bucket:
    """The reader counts what falls into it; so a step is none here."""

    def __init__(self, value: HistogramValue, at: int) -> None:
        self._value, self._at = value, at

    def inc(self, amount: float) -> None:
        pass

    def get(self) -> float:
        return float(self._value.values.count(self._value.labels, self._at))

    def set_exemplar(self, exemplar: Exemplar) -> None:
        self._value.set_exemplar(exemplar)
