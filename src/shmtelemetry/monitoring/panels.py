"""The panels that a metric of a catalogue gets."""

import re
from collections.abc import Iterable
from typing import Final

from ..metric import SECONDS_PER
from .entries import Definition, Panel, Query
from .rules import QUANTILES

_FEW: Final = 24  # lines that a person can tell apart
_MANY: Final = 16  # label values beyond which only the largest are drawn
CHOICES: Final = {"namespace": "job", "symbol": "symbol", "producer": "producer"}  # a dashboard's variable → its label
_UNSAID: Final = {*SECONDS_PER, "bytes", "usd"}  # units that an axis shows
_MOMENT: Final = re.compile(r"(_timestamp|(?<=_start)_time)_seconds$")  # when something was
_ABBREVIATED: Final = {"api": "API", "cpu": "CPU", "http": "HTTP", "pnl": "P&L", "zmq": "ZeroMQ"}


def of_metric(definition: Definition, limit: float | None = None) -> Iterable[Panel]:
    """A histogram's quantiles and heat map, a counter's rate, a gauge's value; limit: of a histogram's values."""
    title = called(definition)
    about = f"{definition.question}\n\n{definition.help}\n\n`{definition.name}`"
    if definition.type == "histogram":
        unit = _unit(definition)
        yield Panel(
            title=title, queries=_quantiles(definition), unit=unit, width=12, description=about, limit=limit,
        )  # fmt: skip
        heat = (Query(expr=_heat(definition), legend="{{le}}"),)
        yield Panel(
            title=f"{title}: distribution", queries=heat, kind="heatmap", unit=unit, width=12, description=about
        )
    elif definition.type == "counter":
        yield Panel(title=title, queries=(_rate(definition),), unit=_rate_unit(definition), description=about)
    else:
        yield Panel(title=title, queries=(_value(definition),), unit=_unit(definition), description=about)


def called(definition: Definition) -> str:
    """A metric's name as people say it, without its service."""
    name = definition.name.removeprefix("shmtel_").removesuffix("_total")
    if moment := _MOMENT.search(name):
        name = f"since_{name[: moment.start()].removeprefix(f'{definition.service}_')}"
    elif definition.metric.unit in _UNSAID:
        name = re.sub(r"_[a-z]+$", "", name)
    words = [_ABBREVIATED.get(word, word) for word in name.removeprefix(f"{definition.service}_").split("_")]
    return " ".join((words[0][:1].upper() + words[0][1:], *words[1:]))


def _chosen(definition: Definition) -> str:
    """What a dashboard's variables choose."""
    wanted = (
        f'{label}=~"${variable}"' for variable, label in CHOICES.items() if label == "job" or label in definition.labels
    )
    return f"{{{','.join(wanted)}}}"


def _rate(definition: Definition) -> Query:
    """Per second, by the labels whose values are listed; else by the first one, of which the largest are drawn."""
    series = f"rate({definition.name}{_chosen(definition)}[$__rate_interval])"
    by, lines = list[str](), 1
    for label, allowed in definition.labels.items():
        if not isinstance(allowed, int) and lines * len(allowed) <= _FEW:
            by.append(label)
            lines *= len(allowed)
    if by or not definition.labels:
        return Query(expr=f"sum by ({', '.join(by or ['job'])}) ({series})", legend=_legend(by or ["job"]))
    label, bound = next(iter(definition.labels.items()))
    expr = f"sum by ({label}) ({series})"
    too_many = not isinstance(bound, int) or bound > _MANY
    return Query(expr=f"topk({_MANY}, {expr})" if too_many else expr, legend=_legend([label]))


def _value(definition: Definition) -> Query:
    """As it is; how long ago a moment was."""
    series = f"{definition.name}{_chosen(definition)}"
    expr = f"time() - {series}" if _MOMENT.search(definition.name) else series
    labels = [*definition.labels]
    if not labels or definition.emitter == "reader":  # each namespace has one
        labels.append("job")
    return Query(expr=expr, legend=_legend(labels))


def _quantiles(definition: Definition) -> tuple[Query, ...]:
    """Of all that is chosen together; from the native histogram where there is one, else from classic buckets."""
    name, chosen = definition.name, _chosen(definition)
    native, classic = f"sum(rate({name}{chosen}[$__rate_interval]))", _classic(definition)
    return tuple(
        Query(expr=f"histogram_quantile({q:g}, {native})\nor\nhistogram_quantile({q:g}, {classic})", legend=short)
        for short, q in QUANTILES.items()
    )


def _heat(definition: Definition) -> str:
    native = f"sum(rate({definition.name}{_chosen(definition)}[$__rate_interval]))"
    return f"{native}\nor on ()\n{_classic(definition)}"


def _classic(definition: Definition) -> str:
    return f"sum by (le) (rate({definition.name}_bucket{_chosen(definition)}[$__rate_interval]))"


def _legend(labels: Iterable[str]) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in labels)


# ---- units: https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts ----

_UNITS: Final = {
    "seconds": "s", "ms": "ms", "us": "µs", "ns": "ns", "bytes": "bytes", "ratio": "percentunit", "percent": "percent",
    "usd": "currencyUSD", "celsius": "celsius", "volts": "volt", "joules": "joule", "grams": "massg",
    "meters": "lengthm",
}  # fmt: skip


def _unit(definition: Definition) -> str:
    return _UNITS.get(definition.metric.unit, "short")


def _rate_unit(definition: Definition) -> str:
    """Of its increase per second: of seconds, the share of the time."""
    unit = definition.metric.unit
    return "percentunit" if unit == "seconds" else {"bytes": "Bps", "usd": "currencyUSD"}.get(unit, "cps")


def in_seconds(definition: Definition, expr: str) -> str:
    """A query of it, in seconds, for a picture that it shares with others."""
    factor = SECONDS_PER[definition.metric.unit]
    return expr if factor == 1.0 else f"{expr} * {factor:g}"
