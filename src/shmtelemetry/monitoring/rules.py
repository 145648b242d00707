"""Recording rules: of every counter its rate, of every histogram its quantiles, of every objective how fast its budget
burns.

https://prometheus.io/docs/practices/rules/, https://sre.google/workbook/alerting-on-slos/
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from .catalogue import Catalogue
from .entries import Alert, Definition, Objective
from .yaml_text import as_yaml

QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
BURN_WINDOWS: Final = ("5m", "30m", "1h", "6h")
_WINDOW: Final = "5m"
_RECORDED: Final = re.compile(r"[a-zA-Z_]\w*(?::\w+)+")  # the name of a recording rule in a query


Rule = dict[str, Any]


def files(catalogue: Catalogue) -> Mapping[str, str]:
    """rules.yml: all rules but those that stand before the alerts that ask for them."""
    elsewhere = asked_for(catalogue)
    groups = [
        {"name": service, "rules": found}
        for service, rules in all_rules(catalogue).items()
        if (found := [rule for rule in rules if rule["record"] not in elsewhere])
    ]
    return {"rules.yml": as_yaml({"groups": groups})}


def all_rules(catalogue: Catalogue) -> dict[str, list[Rule]]:
    """Service → its rules; those of objectives come last, after what they are made of."""
    groups: dict[str, list[Rule]] = {service: [] for service in catalogue.titles}
    for recording in catalogue.recordings.values():
        groups.setdefault(recording.service, []).append({"record": recording.name, "expr": recording.expr.strip()})
    for definition in catalogue.definitions.values():
        rules = [{"record": name, "expr": expr} for name, expr in recorded(definition).items()]
        groups.setdefault(definition.service, []).extend(rules)
    groups["slo"] = [rule for slo in catalogue.objectives.values() for rule in _burn_rules(slo)]
    return groups


def asked_for(catalogue: Catalogue) -> set[str]:
    """Names of the rules that alerts are about, and of those that these are made of."""
    rules = [rule for group in all_rules(catalogue).values() for rule in group]
    names, found = {rule["record"] for rule in rules}, set[str]()
    exprs = [alert.expr for alert in catalogue.alerts.values()]
    while exprs:
        new = set(_RECORDED.findall(exprs.pop())) & names - found
        found |= new
        exprs += [rule["expr"] for rule in rules if rule["record"] in new]
    return found


def words_read(catalogue: Catalogue, alert: Alert) -> set[str]:
    """Words of an alert's query and of all that it asks for, the names of metrics among them."""
    asked = asked_for(replace(catalogue, alerts={alert.name: alert}))
    rules = [rule["expr"] for rules in all_rules(catalogue).values() for rule in rules if rule["record"] in asked]
    return {word for expr in (alert.expr, *rules) for word in re.findall(r"\w+", expr)}


def recorded(definition: Definition) -> dict[str, str]:
    """Name of a recording rule → its expression, for one metric: of each job, all instances together.

    A histogram's come from the native one where there is one, else from classic buckets.
    """
    name = definition.name
    if definition.type == "counter":
        base = name.removesuffix("_total")
        return {f"job:{base}:rate{_WINDOW}": f"sum without (instance) (rate({name}[{_WINDOW}]))"}
    if definition.type == "histogram":
        return {f"job:{name}:{short}_{_WINDOW}": quantile(q, name, _WINDOW) for short, q in QUANTILES.items()}
    return {}


def quantile(q: float, metric: str, window: str) -> str:
    """Of all observations of a job."""
    native = f"histogram_quantile({q:g}, sum by (job) (rate({metric}[{window}])))"
    classic = f"histogram_quantile({q:g}, sum by (job, le) (rate({metric}_bucket[{window}])))"
    return f"{native}\nor\n{classic}"


def _burn_rules(slo: Objective) -> Iterable[Rule]:
    for window in BURN_WINDOWS:
        labels = {"slo": slo.name}
        yield {"record": f"slo:error_ratio:{window}", "expr": _error_ratio(slo, window), "labels": labels}
        budget = f"{1 - slo.objective:.6g}"
        expr = f'slo:error_ratio:{window}{{slo="{slo.name}"}} / {budget}'
        yield {"record": f"slo:burn_rate:{window}", "expr": expr, "labels": labels}


def _error_ratio(slo: Objective, window: str) -> str:
    """The share of events that were not good."""
    if slo.good:
        return f"1 - avg_over_time({slo.good}[{window}])"
    metric, bound = slo.metric, f"{slo.at_most:g}"
    # Prometheus 3 writes le="10.0" whatever the scrape said, 2.x as the scrape did.
    least = bound if "." in bound or "e" in bound else rf"{bound}(\\.0)?"
    good = f'sum by (job) (rate({metric}_bucket{{le=~"{least}"}}[{window}]))'
    native = f"1 - histogram_fraction(0, {bound}, sum by (job) (rate({metric}[{window}])))"
    classic = f"1 - {good} / sum by (job) (rate({metric}_count[{window}]))"
    return f"{native}\nor\n{classic}"
