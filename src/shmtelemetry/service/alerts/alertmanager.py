"""What an Alertmanager's webhook sends: the alerts of a group.

Version 4 of https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
"""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from .alert import ALERTMANAGER, Alert

MOST: Final = 1000  # alerts in one message
LAST: Final = 253_402_300_799  # seconds since the epoch: the end of the last year that RFC 3339 can tell
LONGEST: Final = 4096  # characters of a label or an annotation
NAME: Final = "alertname"


class Message(NamedTuple):
    """group: the key of the group, all of whose alerts these are; empty if there may be more of it."""

    group: str
    alerts: list[Alert]


def message_of(body: bytes | str | Mapping[str, Any]) -> Message:
    """Raises ValueError for what is no message."""
    message = body if isinstance(body, Mapping) else _parsed(body)
    if message.get("version") != "4":
        raise ValueError(f"version {message.get('version')!r}: expected '4'")
    alerts = message.get("alerts")
    if not isinstance(alerts, list) or len(alerts) > MOST:
        raise ValueError(f"alerts: expected a list of at most {MOST:,}")
    group, left_out = message.get("groupKey", ""), message.get("truncatedAlerts", 0)
    if not isinstance(group, str) or len(group) > LONGEST:
        raise ValueError(f"groupKey: expected a text of at most {LONGEST:,} characters")
    return Message("" if left_out else _legal(group), [_alert(alert) for alert in alerts])


def _parsed(body: bytes | str) -> Mapping[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise ValueError(f"expected a JSON object, got {type(message).__name__}")
    return message


def _alert(alert: Any) -> Alert:
    if not isinstance(alert, dict):
        raise ValueError(f"an alert is a JSON object, got {type(alert).__name__}")
    labels, annotations = _texts(alert, "labels"), _texts(alert, "annotations")
    if NAME not in labels:
        raise ValueError(f"labels without {NAME}")
    status = alert.get("status")
    if status not in ("firing", "resolved"):
        raise ValueError(f"status {status!r}: expected firing or resolved")
    since = _time(alert, "startsAt")
    return Alert(
        ALERTMANAGER,
        labels.pop(NAME),
        labels,
        since,
        labels.get("severity", ""),
        annotations.get("summary") or annotations.get("description", ""),
        annotations.get("runbook_url") or annotations.get("runbook", ""),
        math.nan,
        since,
        _time(alert, "endsAt") if status == "resolved" else None,
    )


def _texts(alert: Mapping[str, Any], key: str) -> dict[str, str]:
    found = alert.get(key, {})
    if not isinstance(found, dict) or not all(
        isinstance(text, str) and len(text) <= LONGEST for pair in found.items() for text in pair
    ):
        raise ValueError(f"{key}: expected an object of texts of at most {LONGEST:,} characters")
    return {_legal(name): _legal(text) for name, text in found.items()}


def _legal(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can escape and UTF-8 has no bytes for."""
    return text.encode(errors="replace").decode()


def _time(alert: Mapping[str, Any], key: str) -> float:
    """RFC 3339, with up to nine digits behind the second."""
    stored = alert.get(key)
    try:
        moment = datetime.fromisoformat(str(stored))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 0 <= moment.timestamp() <= LAST:
        raise ValueError(f"{key} {stored!r}: expected a time such as 2026-11-25T23:59:59.123Z")
    return moment.timestamp()
