"""Alertmanager: whom an alert is told, how soon and how often, by its priority.

https://prometheus.io/docs/alerting/latest/configuration/
"""

from collections.abc import Mapping
from typing import Any, Final

from .catalogue import Catalogue
from .entries import Deployment
from .yaml_text import as_yaml

SERVICE: Final = "service"  # the receiver of all alerts
_WEBHOOK: Final = "/api/system/alerts/webhook"
_GROUPS: Final = ["alertname", "component", "job"]  # of what people are told
_TITLE: Final = "{{ .CommonLabels.severity }} {{ .CommonLabels.alertname }}: {{ .Status }}"
_TEXT: Final = "{{ range .Alerts }}{{ .Annotations.summary }} {{ .Annotations.runbook_url }}\n{{ end }}"

# How long to wait for more of a group, then between two messages of it, then until it is said again.
_PACES: Final = {"P0": ("0s", "30s", "5m"), "P1": ("10s", "1m", "15m"), "P2": ("5m", "30m", "24h")}


def files(catalogue: Catalogue) -> Mapping[str, str]:
    """alertmanager.yml."""
    where = catalogue.deployment
    document = {
        "global": {
            "smtp_smarthost": where.smarthost,
            "smtp_from": where.email_from,
            "smtp_auth_username": where.email_from,
            "smtp_auth_password_file": f"{where.secrets}/smtp_password",
            "slack_api_url_file": f"{where.secrets}/slack_url",
        },
        "route": {
            "receiver": SERVICE,
            "group_by": ["component"],  # so that an alert is in a message with the one that silences it
            "group_wait": "0s",
            "group_interval": "1s",  # the list tells of now
            "repeat_interval": "1h",
            "routes": [
                # The service lists every alert as it is; who is woken is another matter.
                {"receiver": SERVICE, "matchers": ['severity=~".+"'], "continue": True},
                *(_route(priority) for priority in _PACES),
            ],
        },
        "inhibit_rules": [_inhibition("P0", "P1|P2"), _inhibition("P1", "P2")],
        "receivers": [_service(where), _urgent(where), _soon(where), _later(where)],
    }
    return {"alertmanager.yml": as_yaml(document, f"alertmanager --web.listen-address={where.alertmanager}")}


def _route(priority: str) -> dict[str, Any]:
    wait, interval, repeat = _PACES[priority]
    return {
        "receiver": priority,
        "matchers": [f'severity="{priority}"'],
        "group_by": _GROUPS,
        "group_wait": wait,
        "group_interval": interval,
        "repeat_interval": repeat,
    }


def _inhibition(source: str, targets: str) -> dict[str, Any]:
    """What is less urgent and of the same component is most likely a consequence."""
    return {
        "source_matchers": [f'severity="{source}"'],
        "target_matchers": [f'severity=~"{targets}"'],
        "equal": ["component"],
    }


def _service(where: Deployment) -> dict[str, Any]:
    webhook: dict[str, Any] = {"url": f"{where.service}{_WEBHOOK}", "send_resolved": True}
    if where.token_file:
        webhook["http_config"] = {"authorization": {"credentials_file": where.token_file}}
    return {"name": SERVICE, "webhook_configs": [webhook]}


def _urgent(where: Deployment) -> dict[str, Any]:
    page = {
        "routing_key_file": f"{where.secrets}/pagerduty_key",
        "severity": "critical",
        "description": _TITLE,
        "details": {"alerts": _TEXT},
        "send_resolved": True,
    }
    return {"name": "P0", "pagerduty_configs": [page], "slack_configs": [_slack(where)]}


def _soon(where: Deployment) -> dict[str, Any]:
    return {"name": "P1", "slack_configs": [_slack(where)], "email_configs": [_email(where)]}


def _later(where: Deployment) -> dict[str, Any]:
    return {"name": "P2", "email_configs": [_email(where)]}


def _slack(where: Deployment) -> dict[str, Any]:
    return {"channel": where.slack_channel, "title": _TITLE, "text": _TEXT, "send_resolved": True}


def _email(where: Deployment) -> dict[str, Any]:
    return {"to": where.email_to, "headers": {"Subject": _TITLE}, "text": _TEXT, "html": "", "send_resolved": True}
