"""Dashboards: an overview, one of each service, and one of objectives."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from ..metric import SECONDS_PER
from .catalogue import Catalogue
from .entries import CATEGORIES, Definition, Objective, Panel, Query, Row
from .panels import called, in_seconds, of_metric
from .rules import BURN_WINDOWS, recorded

OVERVIEW: Final = "overview"
OBJECTIVES: Final = "objectives"
_ALL_HERE: Final = '{job=~"$namespace"}'
_FAST_BURN: Final = 14.4  # a month's budget gone in two days
_LINES: Final = 12  # of one picture of the overview


@dataclass(frozen=True, slots=True)
class Dashboard:
    """name: of a service, or one of the above."""

    name: str
    title: str
    rows: tuple[Row, ...]


def dashboards(catalogue: Catalogue) -> Iterator[Dashboard]:
    """All that a catalogue gives, the overview first.

    Raises ValueError for a service or a row whose dashboard cannot be.
    """
    services = _services(catalogue)
    _check(catalogue, services)
    overview = (_now(), *_rows(catalogue, OVERVIEW), *_summaries(catalogue, services))
    yield Dashboard(OVERVIEW, "Overview", overview)
    for service, title in services.items():
        yield Dashboard(service, title, (*_rows(catalogue, service), *_categories(catalogue, service)))
    if catalogue.objectives:
        yield Dashboard(OBJECTIVES, "Objectives", tuple(map(_objective, catalogue.objectives.values())))


def _services(catalogue: Catalogue) -> dict[str, str]:
    """Those that tell anything, with their titles."""
    telling = dict.fromkeys(one.service for one in catalogue.definitions.values())
    order = dict.fromkeys((*catalogue.titles, *telling))
    return {one: catalogue.titles.get(one, one.replace("_", " ").capitalize()) for one in order if one in telling}


def _check(catalogue: Catalogue, services: dict[str, str]) -> None:
    for taken in services.keys() & {OVERVIEW, OBJECTIVES}:
        raise ValueError(f"service {taken}: expected another name, there is a dashboard of this one")
    for row in catalogue.rows.values():
        if row.dashboard not in (OVERVIEW, *services):
            raise ValueError(f"row {row.name}: dashboard: expected {', '.join((OVERVIEW, *services))}")


def _rows(catalogue: Catalogue, dashboard: str) -> Iterable[Row]:
    """Those that the catalogue's files have for it."""
    return (row for row in catalogue.rows.values() if row.dashboard == dashboard)


def _of_service(catalogue: Catalogue, service: str) -> list[Definition]:
    return [one for one in catalogue.definitions.values() if one.service == service]


# ---- overview ----


def _now() -> Row:
    firing = 'ALERTS{alertstate="firing",severity=~".+"}'
    alerts = Panel(title="Alerts that fire", kind="alerts", width=16, queries=(Query(expr=firing),))
    up = Query(expr=f"min by (job) (up{_ALL_HERE})")
    return Row(title="Now", dashboard=OVERVIEW, panels=(alerts, Panel(title="Answers when asked", queries=(up,))))


def _summaries(catalogue: Catalogue, services: dict[str, str]) -> Iterator[Row]:
    """Of each service in one row: how fast, how much, and what goes wrong."""
    for service, title in services.items():
        definitions = _of_service(catalogue, service)
        latencies = [one for one in definitions if one.type == "histogram" and one.metric.unit in SECONDS_PER]
        pictures = {
            "p99": ([_p99(one) for one in latencies], "s"),
            "Throughput": (_rates(definitions, "throughput"), "cps"),
            "Errors": (_rates(definitions, "errors"), "cps"),
        }
        panels = tuple(
            Panel(title=f"{title}: {name}", queries=tuple(queries[:_LINES]), unit=unit)
            for name, (queries, unit) in pictures.items()
            if queries
        )
        if panels:
            yield Row(title=title, dashboard=OVERVIEW, panels=panels)


def _p99(definition: Definition) -> Query:
    rule = f"job:{definition.name}:p99_5m"
    return Query(expr=f"max({in_seconds(definition, rule + _ALL_HERE)})", legend=called(definition))


def _rates(definitions: Iterable[Definition], category: str) -> list[Query]:
    return [
        Query(expr=f"sum({rule}{_ALL_HERE})", legend=called(definition))
        for definition in definitions
        if definition.type == "counter" and definition.category == category
        for rule in recorded(definition)
    ]


# ---- of a service ----


def _categories(catalogue: Catalogue, service: str) -> Iterator[Row]:
    """A row of each category: first what takes half the width."""
    limits = {slo.metric: slo.at_most for slo in catalogue.objectives.values() if slo.metric}
    by_category = sorted(_of_service(catalogue, service), key=_place)
    for category, definitions in groupby(by_category, lambda one: one.category):
        panels = (panel for one in definitions for panel in of_metric(one, limits.get(one.name)))
        yield Row(title=category.capitalize(), dashboard=service, panels=tuple(panels))


def _place(definition: Definition) -> tuple[int, bool]:
    return CATEGORIES.index(definition.category), definition.type != "histogram"


# ---- of objectives ----


def _objective(slo: Objective) -> Row:
    only, budget = f'{{slo="{slo.name}"}}', f"{1 - slo.objective:.6g}"
    left = f"1 - max(avg_over_time(slo:error_ratio:5m{only}[$__range])) / {budget}"
    burns = tuple(Query(expr=f"max(slo:burn_rate:{window}{only})", legend=window) for window in BURN_WINDOWS)
    shares = Query(expr=f"slo:error_ratio:5m{only}", legend="{{job}}{{service}}")
    panels = (
        Panel(
            title="Budget left", kind="number", unit="percentunit", width=4, queries=(Query(expr=left, legend=""),),
            description="Of the errors that the objective allows in the time that is shown.",
        ),
        Panel(
            title="Burn rate", queries=burns, width=10, limit=_FAST_BURN,
            description="1 uses the budget up in a month, 14.4 in two days.",
        ),
        Panel(
            title="Not good", queries=(shares,), unit="percentunit", width=10, limit=float(budget),
            description="Share of the last five minutes' events.",
        ),
    )  # fmt: skip
    return Row(title=slo.title, dashboard=OBJECTIVES, panels=panels)
