"""A real Alertmanager, configured as docs/deploy.md says, tells a real service of its alerts."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring import DEPLOY
from tests.peers import need, run_command
from tests.processes import PATIENCE, wait_until
from tests.prometheus import is_ready
from tests.readers import shmtel
from tests.services import ask, await_value, hear, listener, service

PAGE = Path(__file__).parents[2] / "docs/deploy.md"
ALERTS = "/api/system/alerts"
TOKEN = "x7Dk-2_9"
BEARER = f"Bearer {TOKEN}"
LABELS = {"alertname": "HighMarketDataLag", "severity": "critical", "symbol": "AAPL"}

pytestmark = pytest.mark.peer


def configuration(folder: Path, service_url: str) -> Path:
    """The documented one, for a service elsewhere, and without its half minute of waiting for more."""
    found = re.search(r"```yaml\n(route:.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    text = found[1]
    places = {
        "http://127.0.0.1:8000": service_url,
        "/etc/shmtelemetry/token": str(folder / "token"),
        "receiver: shmtelemetry": "receiver: shmtelemetry\n  group_wait: 10ms\n  group_interval: 1s",
    }
    for documented, here in places.items():
        assert documented in text
        text = text.replace(documented, here, 1)
    path = folder / "alertmanager.yml"
    path.write_text(text)
    return path


@contextmanager
def alertmanager(path: Path, folder: Path) -> Iterator[str]:
    """Its URL. path: of its configuration."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = [
        need("prometheus-alertmanager"), f"--config.file={path}", f"--storage.path={folder}/alertmanager",
        f"--web.listen-address={url.removeprefix('http://')}", "--cluster.listen-address=", "--log.level=error",
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: process.poll() is not None or is_ready(url), "the Alertmanager is ready")
            assert process.poll() is None, "the Alertmanager ended"
            yield url
        finally:
            process.terminate()


SAID = {"labels": LABELS, "annotations": {"summary": "Market data of AAPL is “old”"}}


def tell(url: str, said: dict[str, Any] = SAID, **times: datetime) -> None:
    """What a Prometheus does whose rule fires, or fires no longer."""
    alert = said | {name: time.isoformat() for name, time in times.items()}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/v2/alerts", json.dumps([alert]).encode(), headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        assert response.status == 200


def test_its_own_tool_takes_the_documented_configuration(tmp_path: Path) -> None:
    path = configuration(tmp_path, "http://127.0.0.1:8000")
    (tmp_path / "token").write_text(TOKEN)
    done = run_command([need("amtool"), "check-config", str(path)])
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_its_alert_is_listed_told_acknowledged_and_over(namespace: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    began = datetime.now(UTC)
    with (
        service(namespace, tmp_path, "--token-file", str(token)) as running,
        alertmanager(configuration(tmp_path, running.url), tmp_path) as url,
        listener(running.url, additional_headers={"Authorization": BEARER}) as websocket,
    ):
        tell(url, startsAt=began, endsAt=began + timedelta(hours=1))
        told = hear(websocket, lambda message: message["type"] == "alerts" and message["alerts"])["alerts"][0]
        assert (told["name"], told["source"], told["summary"]) == (
            "HighMarketDataLag",
            "alertmanager",
            "Market data of AAPL is “old”",
        )
        listed = await_value(
            running.url, f"{ALERTS}?state=firing", lambda found: found["count"] == 1, Authorization=BEARER
        )
        assert listed["alerts"] == [told]

        body = {"who": "ada", "note": "on it"}
        done = ask(running.url, f"{ALERTS}/acknowledge/{told['id']}", "POST", body, Authorization=BEARER)
        acknowledged = done.json["acknowledged"]
        assert (acknowledged["by"], acknowledged["note"]) == ("ada", "on it")

        tell(url, startsAt=began, endsAt=datetime.now(UTC))
        over = await_value(
            running.url, f"{ALERTS}?state=resolved", lambda found: found["count"] == 1, Authorization=BEARER
        )
        assert over["alerts"][0]["id"] == told["id"]
        assert over["alerts"][0]["acknowledged"]["by"] == "ada"


@contextmanager
def generated_routes(namespace: str, folder: Path) -> Iterator[tuple[str, str]]:
    """URLs of a service, and of an Alertmanager that tells it by the generated configuration.

    There is nobody to page: the receivers' secrets are missing.
    """
    out = folder / "generated"
    with service(namespace, folder) as running:
        (folder / "here.toml").write_text(f'[deployment]\nservice = "{running.url}"\n')
        done = shmtel("generate", "alertmanager", "--out", str(out), "--catalog", str(folder / "here.toml"))
        assert done.returncode == 0, done.stderr
        with alertmanager(out / "alertmanager.yml", folder) as url:
            yield running.url, url


def generated_alert(name: str, **labels: str) -> dict[str, Any]:
    """As Prometheus says it."""
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    rule = next(rule for group in groups for rule in group["rules"] if rule.get("alert") == name)
    return {"labels": {"alertname": name, **rule["labels"], **labels}, "annotations": rule["annotations"]}


def test_by_the_generated_routes_an_alert_comes_with_its_priority_and_runbook_and_is_over(
    namespace: str, tmp_path: Path
) -> None:
    began, said = datetime.now(UTC), generated_alert("ExecutionApiDown")
    with generated_routes(namespace, tmp_path) as (running, url):
        tell(url, said, startsAt=began, endsAt=began + timedelta(hours=1))
        firing = await_value(running, f"{ALERTS}?state=firing", lambda found: found["count"] == 1)["alerts"][0]
        assert (firing["name"], firing["severity"]) == ("ExecutionApiDown", "P0")
        assert firing["runbook"] == "http://127.0.0.1:8000/runbooks/ExecutionApiDown.md"
        tell(url, said, startsAt=began, endsAt=datetime.now(UTC))
        over = await_value(running, f"{ALERTS}?state=resolved", lambda found: found["count"] == 1)["alerts"][0]
        assert over["id"] == firing["id"]


@pytest.mark.slow
@pytest.mark.parametrize("ends", [True, False])
def test_what_a_more_urgent_alert_silences_is_over_until_the_silence_is(
    namespace: str, tmp_path: Path, ends: bool
) -> None:
    """ends: whether it has ended meanwhile; Alertmanager tells nobody of that."""
    began, late = datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1)
    urgent, other = generated_alert("ExecutionApiDown"), generated_alert("HighOrderLatency")

    def await_firing(*names: str) -> None:
        def are_they(found: Any) -> bool:
            return sorted(alert["name"] for alert in found["alerts"]) == sorted(names)

        await_value(running, f"{ALERTS}?state=firing", are_they)

    with generated_routes(namespace, tmp_path) as (running, url):
        tell(url, other, startsAt=began, endsAt=late)
        await_firing("HighOrderLatency")
        tell(url, urgent, startsAt=began, endsAt=late)
        await_firing("ExecutionApiDown")
        if ends:
            tell(url, other, startsAt=began, endsAt=datetime.now(UTC))
        tell(url, urgent, startsAt=began, endsAt=datetime.now(UTC))
        await_firing(*(() if ends else ("HighOrderLatency",)))
