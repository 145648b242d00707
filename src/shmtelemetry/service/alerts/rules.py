"""Rules of alerts, read from TOML. docs/alerts.md has the form."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any, Final, Self

from ..figures import added

SEVERITIES: Final = ("P0", "P1", "P2")
WINDOWS: Final = (1, 10, 60)  # seconds
COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": gt, ">=": ge, "<": lt, "<=": le, "==": eq, "!=": ne,
}  # fmt: skip
FIGURES: Final = ("value", "rate", "max", "coverage")  # and quantiles
OVER: Final[dict[str, Callable[[list[float]], float]]] = {
    "sum": added,
    "min": min,
    "max": max,
}  # what several series' values become
QUANTILE: Final = re.compile(r"p(\d{1,4})")
NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION: Final = re.compile(rf"(\d{{1,6}})([{''.join(SECONDS)}])")
METRIC_NAME: Final = re.compile(r"[a-zA-Z0-9_:*?]+")
METRIC: Final = "metric"  # the label that says which metric of a pattern it is
PLACE: Final = re.compile(r"\{(\w+)\}")  # in a summary
NEEDED: Final = object()


@dataclass(frozen=True, slots=True)
class Term:
    """A figure of some series of a metric, or of each metric whose name matches a glob pattern by itself.

    labels: values that the series have, any of each. figure: value, rate, max, coverage, or a quantile such as p99.
    window: seconds, of all but values. over: what the figures of several series become, where they are not added up or
    merged: of values sum, min or max.
    """

    metric: str
    labels: Mapping[str, tuple[str, ...]]
    figure: str
    window: int
    over: str

    @property
    def quantile(self) -> float | None:
        found = QUANTILE.fullmatch(self.figure)
        return float(f"0.{found[1]}") if found else None


@dataclass(frozen=True, slots=True)
class Rule:
    """When to say what.

    by: labels, for each value of which there is an alert of its own; `metric` is among them for a pattern. absent: the
    value while there is no such series of a metric that there is; None for no alert then. hold: seconds for which it
    must be so. summary: {value}, and labels of `by` in braces, stand for theirs.
    """

    name: str
    term: Term
    divided_by: Term | None
    by: tuple[str, ...]
    absent: float | None
    comparison: str
    threshold: float
    hold: float
    severity: str
    summary: str
    runbook: str

    def holds(self, value: float) -> bool:
        """Whether it is time to say it; not for NaN."""
        return value == value and COMPARISONS[self.comparison](value, self.threshold)

    def summary_of(self, value: float, labels: Mapping[str, str]) -> str:
        said = {**labels, "value": f"{value:.4g}"}
        return PLACE.sub(lambda found: said[found[1]], self.summary)


def is_pattern(metric: str) -> bool:
    return "*" in metric or "?" in metric


class Rules(tuple[Rule, ...]):
    """Rules with names of their own."""

    __slots__ = ()

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Those of a file; those of the package without one. Raises ValueError that names the file, rule and key."""
        if path is None:
            return cls.parse(resources.files(__package__).joinpath("rules.toml").read_text(), "rules.toml")
        try:
            return cls.parse(path.read_text(), str(path))
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no TOML: {error}") from error

    @classmethod
    def parse(cls, text: str, origin: str) -> Self:
        """Those of a TOML document; origin: what errors call it."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{origin} is no TOML: {error}") from error
        tables = document.pop("rule", None)
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables) or document:
            raise ValueError(
                f"{origin}: expected [[rule]] tables and nothing else, got {', '.join(document) or 'none'}"
            )
        found: dict[str, Rule] = {}
        for number, table in enumerate(tables, 1):
            name = table.get("name", number)
            try:
                rule = _rule(dict(table))
            except ValueError as error:
                raise ValueError(f"{origin}: rule {name}: {error}") from error
            if rule.name in found:
                raise ValueError(f"{origin}: rule {name}: there are two of that name")
            found[rule.name] = rule
        return cls(found.values())


def _rule(table: dict[str, Any]) -> Rule:
    by, metric = _by(table), table.get("metric")
    if isinstance(metric, str) and is_pattern(metric):
        by = (*by, METRIC)
    rule = Rule(
        name=_matching(table, "name", NAME, "a word such as HighLatency"),
        by=by,
        divided_by=_divisor(table),
        absent=_number(table, "absent", None),
        comparison=_one_of(table, "comparison", tuple(COMPARISONS)),
        threshold=_number(table, "threshold"),
        hold=_duration(table, "for"),
        severity=_one_of(table, "severity", SEVERITIES),
        summary=_text(table, "summary"),
        runbook=_text(table, "runbook", ""),
        term=_term(table),
    )
    _nothing_left(table)
    unknown = set(PLACE.findall(rule.summary)) - {"value", *rule.by}
    if unknown:
        raise ValueError(f"summary: {{{unknown.pop()}}} is none of {', '.join(('value', *rule.by))}")
    if rule.absent is not None and rule.by:
        raise ValueError("absent: a rule with an alert for each of some labels does not know which are absent")
    return rule


def _term(table: dict[str, Any]) -> Term:
    figure = _text(table, "figure", "value")
    if figure not in FIGURES and not QUANTILE.fullmatch(figure):
        raise ValueError(f"figure {figure!r}: expected {', '.join(FIGURES)}, or a quantile such as p50, p99 or p999")
    over = _one_of(table, "over", tuple(OVER), "sum")
    if over != "sum" and figure != "value":
        raise ValueError(f"over {over!r} of a {figure}: it is of values only")
    window = table.pop("window", 60 if figure != "value" else 0)
    if (window not in WINDOWS or isinstance(window, bool)) if figure != "value" else window != 0:
        expected = "none of a value" if figure == "value" else f"one of {', '.join(map(str, WINDOWS))} seconds"
        raise ValueError(f"window {window!r}: expected {expected}")
    return Term(_metric(table), _labels(table), figure, window, over)


def _divisor(table: dict[str, Any]) -> Term | None:
    divisor = table.pop("divided_by", None)
    if divisor is None:
        return None
    if not isinstance(divisor, dict):
        raise ValueError(f"divided_by {divisor!r}: expected a table with metric, figure, …")
    divisor = dict(divisor)
    try:
        term = _term(divisor)
        _nothing_left(divisor)
        if is_pattern(term.metric):
            raise ValueError(f"metric {term.metric!r}: expected the name of one metric")
    except ValueError as error:
        raise ValueError(f"divided_by: {error}") from error
    return term


def _nothing_left(table: dict[str, Any]) -> None:
    if table:
        raise ValueError(f"unknown key {next(iter(table))!r}")


def _taken(table: dict[str, Any], key: str, default: Any) -> Any:
    value = table.pop(key, default)
    if value is NEEDED:
        raise ValueError(f"{key} is missing")
    return value


def _text(table: dict[str, Any], key: str, default: Any = NEEDED) -> str:
    value = _taken(table, key, default)
    if not isinstance(value, str) or (value == "" and default is NEEDED):
        raise ValueError(f"{key} {value!r}: expected a text")
    return value


def _matching(table: dict[str, Any], key: str, pattern: re.Pattern[str], expected: str) -> str:
    value = _text(table, key)
    if not pattern.fullmatch(value):
        raise ValueError(f"{key} {value!r}: expected {expected}")
    return value


def _metric(table: dict[str, Any]) -> str:
    return _matching(table, "metric", METRIC_NAME, "a metric's name, a counter's with its _total, or a glob pattern")


def _one_of(table: dict[str, Any], key: str, expected: tuple[str, ...], default: Any = NEEDED) -> str:
    value = _taken(table, key, default)
    if value not in expected:
        raise ValueError(f"{key} {value!r}: expected one of {', '.join(expected)}")
    return str(value)


def _number(table: dict[str, Any], key: str, default: Any = NEEDED) -> Any:
    value = _taken(table, key, default)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or value != value):
        raise ValueError(f"{key} {value!r}: expected a number")
    return None if value is None else float(value)


def _duration(table: dict[str, Any], key: str) -> float:
    found = DURATION.fullmatch(_text(table, key, "0s"))
    if not found:
        raise ValueError(f"{key}: expected a whole number and its unit, such as 30s, 5m or 1h")
    return float(int(found[1]) * SECONDS[found[2]])


def _by(table: dict[str, Any]) -> tuple[str, ...]:
    value = table.pop("by", [])
    if not isinstance(value, list) or not all(isinstance(label, str) and NAME.fullmatch(label) for label in value):
        raise ValueError(f"by {value!r}: expected a list of label names")
    return tuple(value)


def _labels(table: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    value = table.pop("labels", {})
    if not isinstance(value, dict):
        raise ValueError(f"labels {value!r}: expected a table of names and values")
    found = {}
    for name, wanted in value.items():
        texts = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"labels: {name} = {wanted!r}: expected a text, or a list of texts of which one is meant")
        found[name] = tuple(texts)
    return found
