"""Services of the command line as real processes, and what asks them."""

from __future__ import annotations

import http.client
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

from shmtelemetry import Telemetry
from tests.processes import PATIENCE, wait_until
from tests.readers import Running, listening

BEGAN = datetime.now(UTC)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def new_namespace() -> str:
    """For what several tests share."""
    return f"test-{secrets.token_hex(6)}"


def service(
    namespace: str, folder: Path, *options: str, said: Path | None = None, **environment: str
) -> AbstractContextManager[Running]:
    """`shmtel serve` on a free port of loopback, whose files are in a folder; nothing of it is left at the end."""
    arguments = ["serve", "--namespace", namespace, "--state-dir", str(folder / "state"), "--ephemeral", *options]
    return listening(*arguments, said=said, folder=folder, **environment)


def ask(
    url: str, path: str, method: str = "GET", body: object = None, timeout: float = PATIENCE, **headers: str
) -> Reply:
    """A request on a connection of its own. body: bytes as they are, anything else as JSON."""
    parts = urlsplit(url)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        named.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(method, path, body, named)
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


@contextmanager
def listener(url: str, path: str = "/ws/metrics", **options: Any) -> Iterator[ClientConnection]:
    """A WebSocket that is open."""
    with connect(url.replace("http", "ws", 1) + path, open_timeout=PATIENCE, max_size=2**24, **options) as websocket:
        yield websocket


def hear(websocket: ClientConnection, wanted: str | Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The next message of a type, or that a function wants, whatever comes before it."""
    is_wanted = (lambda message: message["type"] == wanted) if isinstance(wanted, str) else wanted
    while True:
        text = websocket.recv(timeout=PATIENCE)
        message: dict[str, Any] = json.loads(text)
        if is_wanted(message):
            return message


def await_value(url: str, path: str, wanted: Callable[[Any], bool], **headers: str) -> Any:
    """What an endpoint answers as soon as it is as it should be."""

    def asked() -> list[Any]:
        reply = ask(url, path, **headers)
        return [reply.json] if reply.status == 200 and wanted(reply.json) else []

    return wait_until(asked, f"{path} is as it should be")[0]


def alerted(
    url: str, name: str, summary: str, severity: str = "P1", runbook: str = "", began: datetime = BEGAN, **labels: str
) -> int:
    """An Alertmanager sends an alert; returns its number. Of one name, labels and begin there is but one."""
    alert = {
        "status": "firing",
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {"summary": summary, "runbook_url": runbook},
        "startsAt": began.isoformat(),
    }
    reply = ask(url, "/api/system/alerts/webhook", "POST", {"version": "4", "alerts": [alert]})
    assert reply.status == 200
    number: int = reply.json["ids"][0]
    return number


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def producing(namespace: str, **gauges: float) -> Iterator[Telemetry]:
    """A producer with gauges that have been set."""
    with Telemetry("bot", namespace, capacity=1024) as telemetry:
        for name, value in gauges.items():
            telemetry.gauge(name).set(value)
        yield telemetry
