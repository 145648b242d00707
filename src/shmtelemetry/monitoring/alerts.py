"""Alerts: for Prometheus, with their tests for promtool, and for the service's own evaluator."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ..service.alerts.rules import Rules
from .catalogue import Catalogue
from .entries import PLACE, RESPONSE_TIMES, RUNBOOKS, Alert
from .promtool import test_document
from .rules import all_rules, asked_for
from .yaml_text import as_yaml

RULES = "alert_rules.toml"


def files(catalogue: Catalogue) -> Mapping[str, str]:
    """alerts.yml, alerts_test.yml for `promtool test rules`, and alert_rules.toml for `shmtel serve --rules`."""
    groups = [{"name": component, "rules": rules} for component, rules in _groups(catalogue).items()]
    tests = test_document(catalogue, partial(_fired, catalogue))
    return {
        "alerts.yml": as_yaml({"groups": groups}),
        "alerts_test.yml": as_yaml(tests, "promtool test rules alerts_test.yml"),
        RULES: in_process(catalogue),
    }


def _groups(catalogue: Catalogue) -> dict[str, list[Any]]:
    """Component → its alerts, after the recording rules that they ask for: a group is evaluated in order."""
    left = [rule for rules in all_rules(catalogue).values() for rule in rules]
    found: dict[str, list[Any]] = {}
    for component in dict.fromkeys(alert.component for alert in catalogue.alerts.values()):
        mine = {alert.name: alert for alert in catalogue.alerts.values() if alert.component == component}
        asked = asked_for(replace(catalogue, alerts=mine))
        found[component] = [rule for rule in left if rule["record"] in asked]
        found[component] += [_rule(catalogue, alert) for alert in mine.values()]
        left = [rule for rule in left if rule["record"] not in asked]
    return found


def _labels(alert: Alert) -> dict[str, str]:
    """What Alertmanager routes and silences by."""
    return {"severity": alert.priority, "component": alert.component}


def _rule(catalogue: Catalogue, alert: Alert) -> dict[str, Any]:
    template = PLACE.sub(
        lambda found: '{{ $value | printf "%.4g" }}' if found[1] == "value" else f"{{{{ $labels.{found[1]} }}}}",
        alert.summary,
    )
    rule: dict[str, Any] = {"alert": alert.name, "expr": alert.expr.strip()}
    if alert.hold != "0s":
        rule["for"] = alert.hold
    return rule | {"labels": _labels(alert), "annotations": _annotations(catalogue, alert, template)}


def _annotations(catalogue: Catalogue, alert: Alert, summary: str) -> dict[str, str]:
    return {
        "summary": summary,
        "runbook_url": catalogue.deployment.runbook(alert.name),
        "response_time": RESPONSE_TIMES[alert.priority],
    }


def _fired(catalogue: Catalogue, alert: Alert, value: str, of_series: dict[str, str]) -> dict[str, Any]:
    """As promtool's tests expect it."""
    annotations = _annotations(catalogue, alert, alert.told(value, of_series))
    return {"exp_labels": {**_labels(alert), **of_series}, "exp_annotations": annotations}


def in_process(catalogue: Catalogue) -> str:
    """The rules of the service's own evaluator, as docs/alerts.md has them."""
    head = "# Rules of the service's own alerts, written by shmtel generate: change the catalogue instead.\n"
    tables = [_table(catalogue, alert) for alert in catalogue.alerts.values() if alert.in_process is not None]
    text = "\n".join((head, *tables))
    if tables:
        Rules.parse(text, "in_process")  # which says what is wrong with a rule
    return text


def _table(catalogue: Catalogue, alert: Alert) -> str:
    rule = {"name": alert.name, "severity": alert.priority, "summary": alert.summary, **(alert.in_process or {})}
    if alert.hold != "0s":
        rule["for"] = alert.hold
    own = f"{RUNBOOKS}{alert.name}.md"  # whatever address the service has
    rule["runbook"] = catalogue.deployment.runbook(alert.name) if catalogue.deployment.runbooks else own
    return "[[rule]]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in rule.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
