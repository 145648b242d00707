"""Evaluator: takes alerts through their lives, from inactive to pending, firing and resolved."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ...aggregate.snapshot import Snapshot
from ...errors import one_line
from .alert import RULES, Alert
from .figures import Figures, Key, OwnRates
from .rules import Rule, Rules

logger = logging.getLogger("shmtelemetry")

Name = tuple[str, tuple[tuple[str, str], ...]]  # of an alert that is active: the rule's, and labels


class Evaluator:
    """Looks at snapshots, once a second."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        terms = [term for rule in rules for term in (rule.term, rule.divided_by) if term is not None]
        self._own = OwnRates(
            term.metric for term in terms if term.figure == "rate" and term.metric.startswith("shmtel_")
        )
        self._warned: set[str] = set()
        self._active: dict[Name, Alert] = {}

    @property
    def active(self) -> list[Alert]:
        """Those that have not ended."""
        return list(self._active.values())

    def go_on(self, active: Iterable[Alert]) -> list[Alert]:
        """With alerts that another one has left unfinished; returns those found since that are the same."""
        same = []
        for alert in active:
            name = name_of(alert)
            if (found := self._active.get(name)) is not None:
                same.append(found)
            self._active[name] = alert
        return same

    def evaluate(self, snapshot: Snapshot, now: float) -> list[Alert]:
        """Alerts whose state or value has changed, as they are from `now` on, in seconds since the epoch.

        Those of a rule that cannot be evaluated, which the log says once, stay as they are.
        """
        self._own.look(snapshot, now)
        figures = Figures(snapshot, self._own, self._warned)
        changed, left = list[Alert](), set(self._active)
        for rule in self._rules:
            try:
                values = _values(rule, figures) if figures.are_there(rule) else None
            except Exception as error:  # none of the others
                if rule.name not in self._warned:
                    self._warned.add(rule.name)
                    logger.warning("rule %s says nothing: %s", rule.name, one_line(error), extra={"rule": rule.name})
                values = None
            if values is None:
                left -= {name for name in left if name[0] == rule.name}
                continue
            for key, value in values.items():
                if rule.holds(value):
                    labels = dict(zip(rule.by, key, strict=True))
                    name = rule.name, tuple(sorted(labels.items()))
                    left.discard(name)
                    before = self._active.get(name)
                    after = self._active[name] = _held(rule, labels, value, before, now)
                    if after is not before:
                        changed.append(after)
        return changed + [replace(self._active.pop(name), ended=now) for name in left]


def name_of(alert: Alert) -> Name:
    return alert.name, tuple(sorted(alert.labels.items()))


def _values(rule: Rule, figures: Figures) -> Mapping[Key, float]:
    """What the rule compares, for each set of values of its labels."""
    values = figures.of(rule.term, rule.by)
    if not values and rule.absent is not None and figures.knows(rule.term):
        values = {(): rule.absent}
    if rule.divided_by is None:
        return values
    divisors = figures.of(rule.divided_by, rule.by)
    return {key: _quotient(value, divisors[key]) for key, value in values.items() if key in divisors}


def _quotient(value: float, divisor: float) -> float:
    if divisor:
        return value / divisor
    return math.nan if not value or value != value else math.copysign(math.inf, value)


def _held(rule: Rule, labels: Mapping[str, str], value: float, before: Alert | None, now: float) -> Alert:
    """The alert of a rule that holds; the very one before if nothing has changed."""
    since = now if before is None else before.since
    fired = None if before is None else before.fired
    if fired is None and now - since >= rule.hold:
        fired = now
    if before is not None and before.fired == fired and before.value == value:
        return before
    return Alert(
        RULES, rule.name, labels, since, rule.severity, rule.summary_of(value, labels), rule.runbook, value, fired
    )
