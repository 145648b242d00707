"""What a catalogue consists of: one class for each kind of table in its files."""

import re
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import msgspec

from ..metric import Metric, metric

CATEGORIES: Final = ("latency", "throughput", "errors", "business", "system")
RESPONSE_TIMES: Final = {"P0": "5 minutes", "P1": "15 minutes", "P2": "the same business day"}
RUNBOOKS: Final = "/runbooks/"  # of the service
PLACE: Final = re.compile(r"\{(\w+)\}")  # in a summary

_NOT_BASE_UNITS: Final = ("ms", "us", "ns", "percent")
_OF_HISTOGRAMS: Final = ("_count", "_sum", "_bucket")  # what the names of their samples end in

Category = Literal["latency", "throughput", "errors", "business", "system"]
Priority = Literal["P0", "P1", "P2"]
_Bound = Annotated[int, msgspec.Meta(ge=1)]
_Values = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Word = Annotated[str, msgspec.Meta(pattern="^[a-zA-Z_][a-zA-Z0-9_]*$")]
_Columns = Annotated[int, msgspec.Meta(ge=1, le=24)]
_Duration = Annotated[str, msgspec.Meta(pattern="^[0-9]+[smhd]$")]


class Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """One metric.

    service: which part of a system tells it. question: what its owner wants to know by it. labels: name → the values
    that there are, or how many at most. buckets: upper bounds, in the unit of the name; by default from 1 µs to 1 s.
    merge, keep: as Telemetry.gauge has them. documented: others rely on the name, which keeps it whatever is usual
    today. emitter: what emits it; empty for an instrument. handle: name of the ready instrument, by default the
    metric's.
    """

    name: _Text
    type: Literal["counter", "gauge", "histogram"]
    service: _Word
    help: _Text
    question: str
    category: Category
    labels: dict[str, _Bound | _Values] = {}
    buckets: tuple[float, ...] | None = None
    unit: str | None = None
    merge: str = "last"
    keep: bool = False
    documented: bool = False
    emitter: str = ""
    handle: str = ""

    def __post_init__(self) -> None:
        made = self.metric
        if made.name != self.name:
            raise ValueError(f"a counter's name ends in _total: expected {made.name}")
        if not self.documented:
            _lint(made)

    @cached_property
    def metric(self) -> Metric:
        """As a telemetry would define it."""
        return metric(
            self.type, self.name, self.help, labels=tuple(self.labels), buckets=self.buckets, unit=self.unit,
            merge=self.merge, keep=self.keep,
        )  # fmt: skip

    @property
    def constant(self) -> str:
        """The name of its ready instrument."""
        return self.handle or self.name.removesuffix("_total").removesuffix("_seconds").upper()


def _lint(made: Metric) -> None:
    """As `promtool check metrics` asks for: https://prometheus.io/docs/practices/naming/"""
    if made.kind != "counter" and made.name.endswith("_total"):
        raise ValueError(f"_total is what a counter's name ends in, and this is a {made.kind}")
    if made.name.endswith(_OF_HISTOGRAMS):
        raise ValueError(f"a name that ends in {', '.join(_OF_HISTOGRAMS)} is taken for a sample of a histogram")
    if made.unit in _NOT_BASE_UNITS:
        expected = "ratio" if made.unit == "percent" else "seconds"
        raise ValueError(f"the unit is {made.unit}: expected {expected}, the base unit")


class Recording(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A query whose result Prometheus keeps under a name of its own. service: whose group of rules it is in."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z_][a-zA-Z0-9_]*(:[a-zA-Z0-9_]+)+$")]
    expr: _Text
    service: _Word


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an alert does at a moment, for promtool.

    series: name with labels → values, in promtool's notation, one each `interval`. at: the moment. fires: labels of
    each alert that fires then, beside the alert's own; none for quiet. values: what each of them is worth.
    """

    series: dict[str, str]
    at: _Duration
    fires: tuple[dict[str, str], ...] = ()
    values: tuple[str, ...] = ()
    interval: _Duration = "10s"

    def __post_init__(self) -> None:
        if len(self.fires) != len(self.values):
            raise ValueError(f"fires: expected one of values each, got {len(self.fires)} and {len(self.values)}")


class Alert(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"hold": "for"}):
    """When to tell a person, and how urgent that is.

    component: what of a system it is about; the alerts of one with a higher priority silence those with a lower one.
    hold: for how long it must be so. summary: one sentence; {value} and the names of labels in braces stand for theirs.
    in_process: the same as a rule of the service's own evaluator, as docs/alerts.md has it, without what is told here;
    None where it cannot tell. tests: for promtool.
    """

    name: _Word
    expr: _Text
    priority: Priority
    component: _Word
    summary: _Text
    hold: _Duration = "0s"
    in_process: dict[str, Any] | None = None
    tests: tuple[Case, ...] = ()

    def __post_init__(self) -> None:
        places = set(PLACE.findall(self.summary)) - {"value"}
        for labels in (labels for case in self.tests for labels in case.fires):
            if missing := places - labels.keys():
                raise ValueError(f"summary: a test that fires has no label {missing.pop()}")

    def told(self, value: str, labels: dict[str, str]) -> str:
        """The summary."""
        return PLACE.sub(lambda found: ({**labels, "value": value})[found[1]], self.summary)


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A service level that is promised: the share of events that are good.

    objective: that share, below 1. metric, at_most: a histogram, and the largest good value, which must be a bound of
    its buckets; or good: a query of 0 and 1, 1 for what is good.
    """

    name: _Word
    title: _Text
    service: _Word
    objective: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    metric: str = ""
    at_most: float = 0.0
    good: str = ""

    def __post_init__(self) -> None:
        if bool(self.metric) == bool(self.good):
            raise ValueError("expected either metric and at_most, or good")


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One query of a panel. legend: with labels in double braces, as Grafana has it."""

    expr: _Text
    legend: str = "{{job}}"


class Panel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One picture.

    unit: Grafana's name of it. width: in columns, of which there are 24. limit: a line that is not to be crossed.
    """

    title: _Text
    queries: Annotated[tuple[Query, ...], msgspec.Meta(min_length=1, max_length=26)]
    kind: Literal["lines", "number", "heatmap", "alerts"] = "lines"
    unit: str = "short"
    width: _Columns = 8
    description: str = ""
    limit: float | None = None


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Panels beside each other, under a title. dashboard: where it stands, a service or `overview`."""

    title: _Text
    dashboard: _Word
    panels: Annotated[tuple[Panel, ...], msgspec.Meta(min_length=1)]

    @property
    def name(self) -> str:
        return f"{self.dashboard}: {self.title}"


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What Prometheus scrapes. optional: only where a file targets/NAME.yml says so."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]+$")]
    targets: _Values
    interval: _Duration = "10s"
    path: str = "/metrics"
    optional: bool = False


class Deployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where things are.

    namespace: whose reader is part of the service. runbooks: what links to them begin with, by default to those that
    the service has. secrets: a folder whose files slack_url, pagerduty_key and smtp_password hold what they say.
    """

    alertmanager: str
    service: str
    namespace: str
    secrets: str
    slack_channel: str
    email_to: str
    email_from: str
    smarthost: str
    token_file: str = ""
    runbooks: str = ""

    def runbook(self, alert: str) -> str:
        return f"{self.runbooks or f'{self.service}{RUNBOOKS}'}{alert}.md"
