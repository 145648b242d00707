"""`make stack`: real causes in the demo, and the alerts that arrive at the service by Prometheus and Alertmanager."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs shmtelemetry[service]")
pytest.importorskip("msgspec", reason="needs shmtelemetry[monitoring]")

from shmtelemetry import Producer
from shmtelemetry.demo.causes import CAUSES
from shmtelemetry.demo.control import CAUSE, CURE, tell
from shmtelemetry.monitoring.catalogue import Catalogue
from tests.monitoring import asked_by_dashboards
from tests.peers import need
from tests.processes import PATIENCE, is_stopped, wait_until
from tests.services import await_value, listener
from tests.stack import FREE, Stack, StackError, in_less_time, stack
from tests.trades import TRADE, trades
from tests.unit.test_monitoring import metrics_of

FASTER = 20
STARVED_SECONDS = 0.7  # a ring of the market data's is full before
ALERTS = "/api/system/alerts"
UNEMITTED_WHILE_WELL = {
    f"{prefix}{name}{suffix}"
    for name in ("ingest_rejected", "ingest_missing", "ingest_gaps")
    for prefix, suffix in (("", "_total"), ("job:", ":rate5m"))
}

pytestmark = pytest.mark.peer


@dataclass(frozen=True)
class Condition:
    """alert: what a cause makes fire, with its labels. cause: there is one from `with` to its end."""

    alert: str
    labels: dict[str, str]
    cause: Callable[[Stack], AbstractContextManager[object]]

    @property
    def priority(self) -> str:
        return Catalogue.packaged().alerts[self.alert].priority

    def __str__(self) -> str:
        return "-".join((self.alert, *self.labels.values()))


@contextmanager
def demo_stands_still(running: Stack) -> Iterator[None]:
    """The process with the readers, so that none of them can be asked."""
    pid = running.parts["demo"].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: is_stopped(pid), "the demo stands still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def caused(name: str) -> Callable[[Stack], AbstractContextManager[object]]:
    """What the demo itself can let go wrong."""

    @contextmanager
    def cause(running: Stack) -> Iterator[None]:
        pid = running.parts["demo"].pid
        tell(CAUSE, name, pid)
        try:
            yield
        finally:
            tell(CURE, name, pid)

    return cause


@contextmanager
def readers_get_little_cpu(running: Stack) -> Iterator[None]:
    """The process with the readers stands still for half of the time, so that rings are full again and again."""
    pid, over = running.parts["demo"].pid, Event()

    def starve() -> None:
        while not over.wait(STARVED_SECONDS):
            os.kill(pid, signal.SIGSTOP)
            over.wait(STARVED_SECONDS)
            os.kill(pid, signal.SIGCONT)

    with ThreadPoolExecutor(1) as pool:
        starving = pool.submit(starve)
        try:
            yield
        finally:
            over.set()
            starving.result()


@contextmanager
def disk_is_too_slow(running: Stack) -> Iterator[None]:
    """A producer emits more events than the service's database takes."""
    (path,) = (running.folder / "state").glob("*.sqlite")
    over, batch = Event(), trades(0, 4_096)

    def trade() -> None:
        with Producer("engine", TRADE, path.stem, capacity=8_192, policy="block", timeout=None) as ring:
            while not over.is_set():
                ring.emit_many(batch)

    with ThreadPoolExecutor(1) as pool:
        trading = pool.submit(trade)
        try:
            yield
        finally:
            over.set()
            trading.result()


SHORT = Condition("ServiceDown", {"service": "signal-bridge"}, caused("service-stopped"))
CONDITIONS = [
    *(Condition(cause.alert, {}, caused(name)) for name, cause in CAUSES.items() if name != "service-stopped"),
    Condition("HighPortfolioDrawdown", {}, caused("market-crash")),
    Condition("SloBurnFast", {"slo": "availability"}, caused("service-stopped")),
    Condition("ReaderDown", {"job": "risk-manager"}, demo_stands_still),
    Condition("RecordsDropped", {"producer": "market-data"}, readers_get_little_cpu),
    Condition("EventsLetGo", {"job": "api"}, disk_is_too_slow),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    for program in ("prometheus", "prometheus-alertmanager"):
        need(program)
    with stack(tmp_path_factory.mktemp("stack"), FREE, FASTER) as made:
        made.prometheus.shows("sum(up)", 5)  # the four services, and what lists the alerts
        yield made


def is_calm(running: Stack, condition: Condition) -> bool:
    """Whether nothing fires that could be taken for what is waited for, or silence it.

    The demo misses some objectives all the time.
    """
    labels = ",".join(f'{name}="{value}"' for name, value in condition.labels.items())
    own = f'ALERTS{{alertname="{condition.alert}",{labels}}}'
    return not running.prometheus.result(f'ALERTS{{severity=~"P0|P1",component!="slo"}} or {own}')


def arrive_and_resolve(running: Stack, condition: Condition) -> None:
    """The alert fires in the service's list while there is its cause, as it should, and is over afterwards."""

    def is_it(alert: dict[str, Any]) -> bool:
        wanted = condition.alert, "alertmanager"
        return (alert["name"], alert["source"]) == wanted and condition.labels.items() <= alert["labels"].items()

    wait_until(lambda: is_calm(running, condition), "nothing else fires")
    with condition.cause(running):
        listed = await_value(running.service, f"{ALERTS}?state=firing", lambda found: any(map(is_it, found["alerts"])))
        firing = next(filter(is_it, listed["alerts"]))
        assert firing["severity"] == condition.priority
        assert firing["runbook"] == f"{running.service}/runbooks/{condition.alert}.md"
        with urllib.request.urlopen(firing["runbook"], timeout=PATIENCE) as page:
            assert f"<h1>{condition.alert}</h1>" in page.read().decode()
        assert routes(running, condition) == {"service", condition.priority}

    def over(found: Any) -> bool:
        return any(alert["id"] == firing["id"] for alert in found["alerts"])

    await_value(running.service, f"{ALERTS}?state=resolved", over)


def routes(running: Stack, condition: Condition) -> set[str]:
    """Whom Alertmanager tells of it."""
    with urllib.request.urlopen(f"{running.alertmanager}/api/v2/alerts", timeout=PATIENCE) as response:
        alerts = json.load(response)
    named = {"alertname": condition.alert, **condition.labels}
    [alert] = [alert for alert in alerts if named.items() <= alert["labels"].items()]
    return {receiver["name"] for receiver in alert["receivers"]}


@pytest.mark.slow
def test_a_process_that_stands_still_is_an_alert_in_the_list_until_it_goes_on(running: Stack) -> None:
    arrive_and_resolve(running, SHORT)


def test_every_urgent_alert_is_caused() -> None:
    urgent = {alert.name for alert in Catalogue.packaged().alerts.values() if alert.priority != "P2"}
    assert {condition.alert for condition in (SHORT, *CONDITIONS)} == urgent


@pytest.mark.slow
def test_every_panel_shows_what_the_running_demo_emits(running: Stack) -> None:
    """But those of what nobody has sent anything wrong of: such a counter has no series yet."""
    asked = [(place, query) for place, query in asked_by_dashboards() if not UNEMITTED_WHILE_WELL & metrics_of(query)]
    assert len(asked) > 400
    with listener(running.service, "/ws"):
        for place, query in asked:
            wait_until(partial(running.prometheus.result, query), f"{place} shows {query}")


@pytest.mark.stress
@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_every_condition_arrives_with_its_priority_runbook_and_route_and_resolves(
    running: Stack, condition: Condition
) -> None:
    arrive_and_resolve(running, condition)


# ---- the command ----


@contextmanager
def command(*options: str) -> Iterator[subprocess.Popen[str]]:
    for program in ("prometheus", "prometheus-alertmanager"):
        need(program)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "tests.stack", *options], stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def shown(process: subprocess.Popen[str]) -> dict[str, str]:
    """Name → where it is; the last line says where the files are."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    while "files and logs:" not in found:
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr is not None else ""
        name, _, place = line.rstrip().rpartition(" ")
        found[name.strip()] = place
    return found


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_shows_where_everything_is_and_leaves_nothing(number: int) -> None:
    with command("--free") as process:
        places = shown(process)
        assert places.keys() >= {"market-data", "execution-engine", "service", "prometheus", "alertmanager"}
        for name, path in {"service": "/", "prometheus": "/-/ready", "alertmanager": "/-/ready"}.items():
            with urllib.request.urlopen(places[name] + path, timeout=PATIENCE) as response:
                assert response.status == 200
        folder, started = Path(places["files and logs:"]), children(process.pid)
        assert len(started) == 4
        assert "job_name: execution-engine" in (folder / "prometheus.yml").read_text()
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert not folder.exists()
        assert not any(Path(f"/proc/{pid}").exists() for pid in started)


@pytest.mark.stress
def test_it_ends_with_a_part_that_ends_and_says_which() -> None:
    with command("--free") as process:
        shown(process)
        alertmanager = next(pid for pid in children(process.pid) if "alertmanager" in program(pid))
        os.kill(alertmanager, signal.SIGKILL)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert said.startswith("alertmanager ended with exit code -9")


def program(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().partition("\0")[0]


@pytest.mark.stress
def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    need("prometheus-alertmanager")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = replace(FREE, alertmanager=taken.getsockname()[1])
        with (
            pytest.raises(StackError, match=r"alertmanager ended(.|\n)*address already in use"),
            stack(tmp_path, ports),
        ):
            pass


def test_durations_are_shorter_everywhere_and_nothing_else_is() -> None:
    rule = {"alert": "A5m", "expr": 'rate(x{y="1m"}[5m] offset 1m) > 5', "for": "20s", "labels": {"for_": "5m"}}
    assert in_less_time({"groups": [{"rules": [rule]}]}, 10) == {
        "groups": [{"rules": [{**rule, "expr": 'rate(x{y="1m"}[30000ms] offset 6000ms) > 5', "for": "2000ms"}]}]
    }
