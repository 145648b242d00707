"""Alerts of a real service: found, listed, told over WebSocket, acknowledged, resolved, and received."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shmtelemetry import Telemetry
from shmtelemetry._instruments import Gauge
from tests.readers import Running, shmtel
from tests.services import Reply, ask, await_value, hear, listener, service

RULES = """
[[rule]]
name = "DeepQueue"
metric = "queue_depth"
comparison = ">"
threshold = 10
for = "1s"
severity = "P1"
summary = "The queue holds {value}."
"""
ALERTS = "/api/system/alerts"


@dataclass(frozen=True)
class Watched:
    running: Running
    depth: Gauge

    def alert(self, state: str) -> dict[str, Any]:
        """The newest alert, as soon as it is in that state."""
        found = await_value(self.running.url, f"{ALERTS}?state={state}", lambda told: told["count"] > 0)
        newest: dict[str, Any] = found["alerts"][0]
        return newest

    def post(self, path: str, body: object = None) -> Reply:
        return ask(self.running.url, f"{ALERTS}/{path}", "POST", body)


@pytest.fixture
def watched(namespace: str, tmp_path: Path) -> Iterator[Watched]:
    """A service with one rule, and the gauge that it is about."""
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    with (
        service(namespace, tmp_path, "--rules", str(rules), "--workers", "2") as running,
        Telemetry("bot", namespace, capacity=1024) as telemetry,
    ):
        yield Watched(running, telemetry.gauge("queue_depth"))


def test_an_alert_is_found_told_acknowledged_and_over(watched: Watched) -> None:
    with listener(watched.running.url) as websocket:
        assert hear(websocket, "alerts")["alerts"] == []
        watched.depth.set(11.0)
        told = hear(websocket, lambda message: message["type"] == "alerts" and message["alerts"])["alerts"][0]
        assert (told["name"], told["severity"], told["summary"]) == ("DeepQueue", "P1", "The queue holds 11.")
        listed = watched.alert("firing")
        assert listed == told

        done = watched.post(f"acknowledge/{told['id']}", {"who": "ada", "note": "on it"}).json
        assert (done["acknowledged"]["by"], done["acknowledged"]["note"]) == ("ada", "on it")
        known = hear(websocket, lambda message: message["type"] == "alerts" and message["alerts"][0]["acknowledged"])
        assert known["alerts"] == [done]

        watched.depth.set(1.0)
        hear(websocket, lambda message: message["type"] == "alerts" and not message["alerts"])
        assert watched.alert("resolved")["id"] == told["id"]


def test_an_alert_can_be_closed_by_hand_once(watched: Watched) -> None:
    watched.depth.set(99.0)
    number = watched.alert("firing")["id"]
    done = watched.post(f"resolve/{number}", {"who": "ada"}).json
    assert (done["state"], done["resolved_by"]) == ("resolved", "ada")
    again = watched.post(f"resolve/{number}")
    assert (again.status, again.json["detail"]) == (409, f"alert {number} is resolved")
    assert ask(watched.running.url, f"{ALERTS}?state=firing").json["count"] == 0


def test_what_cannot_be_acknowledged_is_refused(watched: Watched) -> None:
    watched.depth.set(99.0)
    number = watched.alert("firing")["id"]
    assert watched.post("acknowledge/999").status == 404
    assert watched.post("acknowledge/x").status == 422
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    assert watched.post(f"acknowledge/{number}", {"until": past}).status == 422
    assert watched.post(f"acknowledge/{number}", {"who": ""}).status == 422
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert watched.post(f"acknowledge/{number}", {"until": until}).json["acknowledged"]["by"] == "unknown"
    assert watched.post(f"acknowledge/{number}").status == 200  # as the documented call has no body


def test_an_alertmanagers_message_is_listed(watched: Watched) -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": "HighMarketDataLag", "severity": "P1", "symbol": "AAPL"},
        "annotations": {"summary": "late"},
        "startsAt": "2026-11-25T23:59:59.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
    }
    received = watched.post("webhook", {"version": "4", "status": "firing", "alerts": [alert]})
    assert received.status == 200
    listed = ask(watched.running.url, f"{ALERTS}?state=firing").json["alerts"]
    assert [(one["id"], one["name"], one["source"]) for one in listed] == [
        (received.json["ids"][0], "HighMarketDataLag", "alertmanager")
    ]
    refused = watched.post("webhook", {"version": "4", "alerts": [{"status": "on fire"}]})
    assert refused.status == 422


def test_rules_that_cannot_be_are_one_line(namespace: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "x"\n')
    done = shmtel("serve", "--namespace", namespace, "--state-dir", str(tmp_path), "--rules", str(rules))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(rules) in done.stderr
