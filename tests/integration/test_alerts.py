"""Alerts: what rules find in a reader's figures, what an Alertmanager sends, and what people do about both."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shmtelemetry import Producer, Reader, Telemetry
from shmtelemetry.segment import segment_names
from shmtelemetry.service.alerts import Alert, AlertStore, AlertWatch, Evaluator, Rules
from shmtelemetry.service.alerts.alertmanager import message_of
from tests.processes import run_python, wait_until
from tests.reading import SHM
from tests.trades import TRADE, trades

GOLDEN = Path(__file__).parents[1] / "golden"
BEGIN = float(int(time.time()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "alerts.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[AlertStore]:
    with AlertStore(path) as opened:
        yield opened


def states(changed: list[Alert]) -> list[tuple[str, str]]:
    """Each state that an alert has come to; changes of values alone left out."""
    found: list[tuple[str, str]] = []
    for alert in changed:
        if (alert.name, alert.state) not in found[-1:]:
            found.append((alert.name, alert.state))
    return found


def test_no_active_bots_is_said_after_five_minutes_and_also_when_their_series_are_gone(namespace: str) -> None:
    evaluator = Evaluator(Rules.load())
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:

        def states_at(second: float) -> list[tuple[str, str]]:
            reader.poll()
            return states(evaluator.evaluate(reader.snapshot(), BEGIN + second))

        name = "NoActiveBotsRunning"
        assert states_at(0) == []  # nobody has ever heard of bots
        bots = telemetry.gauge("trading_bots_active_total", labels=("status",))
        bots.labels("running").set(2)
        assert states_at(1) == []
        bots.labels("running").set(0)
        bots.labels("stopped").set(2)
        assert states_at(2) == [(name, "pending")]
        assert states_at(301) == []
        assert states_at(302) == [(name, "firing")]
        assert states_at(303) == []
        bots.labels("running").set(1)
        assert states_at(304) == [(name, "resolved")]
        bots.remove("running")
        assert states_at(305) == [(name, "pending")]
        bots.labels("running").set(1)
        assert states_at(306) == [(name, "inactive")]
        bots.remove("running")
        assert states_at(400) == [(name, "pending")]
        assert states_at(700) == [(name, "firing")]


def test_drawdown_is_the_quotient_of_two_metrics(namespace: str) -> None:
    evaluator = Evaluator(Rules.load())
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        total, cash = telemetry.gauge("portfolio_total_value_usd"), telemetry.gauge("portfolio_cash_balance_usd")
        found = []
        for second, value, committed in ((0, 100, 100), (1, 84, 100), (301, 84, 100), (302, 86, 100), (303, 0, 0)):
            total.set(value)
            cash.set(committed)
            reader.poll()
            found += evaluator.evaluate(reader.snapshot(), BEGIN + second)
    assert states(found) == [("HighPortfolioDrawdown", state) for state in ("pending", "firing", "resolved")]
    assert found[1].summary == "The portfolio is worth 0.84 of the capital committed to it."
    assert (found[1].since, found[1].fired, found[1].severity) == (BEGIN + 1, BEGIN + 301, "P0")


WINDOWED = """
[[rule]]
name = "Merged"
metric = "market_data_lag_seconds"
figure = "p95"
comparison = ">"
threshold = 5
severity = "P1"
summary = "{value}"

[[rule]]
name = "Each"
metric = "market_data_lag_seconds"
figure = "max"
window = 60
by = ["symbol"]
comparison = ">"
threshold = 5
severity = "P1"
summary = "{symbol} {value}"

[[rule]]
name = "Errors"
metric = "errors_total"
labels = { kind = ["a", "b"] }
figure = "rate"
comparison = ">"
threshold = 0
severity = "P1"
summary = "{value}"
[rule.divided_by]
metric = "errors_total"
figure = "rate"

[[rule]]
name = "Quiet"
metric = "quiet_total"
figure = "rate"
comparison = "=="
threshold = 0
severity = "P2"
summary = "{value}"

[[rule]]
name = "Wrong"
metric = "errors_total"
figure = "p99"
comparison = ">"
threshold = 0
severity = "P2"
summary = "{value}"

[[rule]]
name = "Coverage"
metric = "*"
figure = "coverage"
comparison = "<"
threshold = 0.9
severity = "P2"
summary = "{metric} {value}"
"""


def test_figures_of_windows_are_those_of_all_series_together_or_of_each(
    namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    evaluator = Evaluator(Rules.parse(WINDOWED, "rules.toml"))
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=256) as telemetry:
        lag = telemetry.histogram("market_data_lag_seconds", labels=("symbol",))
        errors, quiet = telemetry.counter("errors", labels=("kind",)), telemetry.counter("quiet")
        slow = telemetry.histogram("lost_seconds")
        reader.poll()
        assert evaluator.evaluate(reader.snapshot(), BEGIN) == []  # there is no completed second yet
        quiet.inc(0)
        for kind, count in (("a", 1), ("b", 2), ("c", 9)):
            errors.labels(kind).inc(count)
        for at in range(100):
            lag.labels("AAPL" if at % 2 else "MSFT").observe(6.0 if at in (1, 2, 3, 5, 7, 9, 11) else 0.001)
        reader.poll()
        assert [slow.observe(1.0) for _ in range(512)].count(True) == 256
        reader.poll()

        def is_complete() -> bool:
            reader.poll()
            return reader.snapshot().window(60).histogram("lost_seconds").count == 256

        wait_until(is_complete, "all is in completed seconds")
        found = {}
        for second in range(2):
            for alert in evaluator.evaluate(reader.snapshot(), BEGIN + 1 + second):
                assert alert.state == "firing"
                found[alert.name, *alert.labels.values()] = alert.value
        # 7 of 100 are 6 s: of one symbol 6 of 50, of the other 1 of 50, which is in its maximum alone.
        assert found == {
            ("Merged",): pytest.approx(6.0, rel=0.012),
            ("Each", "AAPL"): 6.0,
            ("Each", "MSFT"): 6.0,
            ("Errors",): pytest.approx(0.25),
            ("Quiet",): 0.0,
            ("Coverage", "lost_seconds"): 0.5,
        }
        assert [line for line in caplog.messages if "a rule asks" in line] == [
            "a rule asks for p99 of errors_total, which is a counter: it says nothing"
        ]


def test_what_goes_wrong_with_the_telemetry_itself(namespace: str, path: Path) -> None:
    evaluator = Evaluator(Rules.load())

    class Full:
        position = staticmethod(lambda ring: ring.start)
        totals = staticmethod(lambda: None)

        def store(self, batches: Any) -> None:
            raise OSError("No space left on device")

    with (
        Reader(namespace, ephemeral=True, max_series=3, events=Full()) as reader,
        Telemetry("p", namespace, capacity=16) as telemetry,
        Producer("engine", TRADE, namespace, capacity=16) as ring,
    ):
        count, wait = telemetry.counter("count", labels=("n",)), telemetry.histogram("wait_seconds")
        reader.poll()
        assert evaluator.evaluate(reader.snapshot(), BEGIN) == []
        bad = SHM / f"shmtel.{namespace}.bad.token"
        bad.write_bytes(b"not a segment")
        for number in range(10):
            count.labels(number).inc()
        reader.poll()
        found = []
        for second in range(1, 13):
            for _ in range(32):
                wait.observe(1.0)
            ring.emit_many(trades(0, 32))
            reader.poll()
            found += evaluator.evaluate(reader.snapshot(), BEGIN + second)
        bad.unlink()
    for name in segment_names(namespace):  # its events were never stored
        (SHM / name).unlink()
    firing = {(alert.name, *alert.labels.values()): alert for alert in reversed(found) if alert.fired}
    dropping = firing.pop(("RecordsDropped", "p"))
    assert dropping.summary == "p drops 16 records a second: its ring is full, or it has none."
    assert firing.pop(("RecordsDropped", "engine")).value >= 16
    assert firing.pop(("SegmentQuarantined",)).value == 1
    assert firing.pop(("SeriesOverflow",)).value > 9
    assert not firing


def test_events_that_are_let_go_of(namespace: str) -> None:
    evaluator = Evaluator(Rules.load())
    with Reader(namespace, ephemeral=True) as reader:
        found = []
        for second, count in ((0, 0), (1, 0), (2, 50), (3, 50), (20, 50), (21, 50)):
            reader.poll()
            assert reader._role is not None
            reader._role._state.put("events_let_go", count)
            found += evaluator.evaluate(reader.snapshot(), BEGIN + second)
    assert states(found) == [("EventsLetGo", "firing"), ("EventsLetGo", "resolved")]


def watched(namespace: str, path: Path, values: list[tuple[float, float]]) -> None:
    """Watches a gauge that is set to values at times."""
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        AlertWatch(path, Rules.load()) as watch,
    ):
        gauge = telemetry.gauge("trading_bots_active_total", labels=("status",))
        for second, value in values:
            gauge.labels("running").set(value)
            reader.poll()
            watch.look(reader.snapshot(), BEGIN + second)
            watch.keep()


def test_alerts_go_on_in_the_next_process_and_others_list_them(namespace: str, path: Path, store: AlertStore) -> None:
    assert store.list() == []
    watched(namespace, path, [(0, 1), (1, 0), (2, 0)])
    (pending,) = store.list("pending")
    assert pending | {"id": 1} == {
        "id": 1, "source": "rules", "name": "NoActiveBotsRunning", "labels": {}, "severity": "P0", "state": "pending",
        "value": 0.0, "summary": "No trading bot is running.", "runbook": "/runbooks/NoActiveBotsRunning.md",
        "since": BEGIN + 1, "fired": None, "resolved": None, "resolved_by": None, "acknowledged": None,
    }  # fmt: skip
    watched(namespace, path, [(200, 0), (301, 0), (302, 0)])
    (firing,) = store.list("firing")
    assert (firing["id"], firing["since"], firing["fired"]) == (pending["id"], BEGIN + 1, BEGIN + 301)
    assert store.list("pending") == []
    script = "import sys, json, pathlib\nfrom shmtelemetry.service.alerts import AlertStore\n"
    script += "print(json.dumps(AlertStore(pathlib.Path(sys.argv[1])).list('firing')))"
    assert json.loads(run_python(script, str(path)).stdout) == [firing]
    watched(namespace, path, [(400, 0), (401, 1)])
    (resolved,) = store.list()
    assert (resolved["id"], resolved["state"], resolved["resolved"]) == (firing["id"], "resolved", BEGIN + 401)
    watched(namespace, path, [(500, 0), (501, 1)])  # for too short to fire
    assert store.list() == [resolved]
    watched(namespace, path, [(600, 0), (900, 0)])
    assert [alert["state"] for alert in store.list()] == ["firing", "resolved"]


def test_who_knows_of_an_alert_and_for_how_long(namespace: str, path: Path, store: AlertStore) -> None:
    watched(namespace, path, [(0, 0), (300, 0)])
    (alert,) = store.list()
    now = time.time()
    noted = store.acknowledge(alert["id"], "ada", "am on it", until=now + 3600)
    assert noted == store.list()[0]
    assert noted["acknowledged"] | {"at": 0} == {"by": "ada", "note": "am on it", "at": 0, "until": now + 3600}
    assert now <= noted["acknowledged"]["at"] <= time.time()
    assert noted["state"] == "firing"
    assert store.acknowledge(alert["id"], "grace")["acknowledged"]["until"] is None
    until = time.time() + 0.05
    store.acknowledge(alert["id"], "ada", until=until)
    wait_until(lambda: time.time() > until, "it is over")
    assert store.list()[0]["acknowledged"] is None
    for who, note, until, why in (
        ("", "", None, "who of 0 characters"),
        ("a" * 1001, "", None, "who of 1,001 characters"),
        ("ada", "n" * 1001, None, "note of 1,001 characters"),
        ("ada", "", now, "expected a moment in the future"),
        ("ada", "", math.inf, "expected a moment in the future"),
        ("ada", "", math.nan, "expected a moment in the future"),
    ):
        with pytest.raises(ValueError, match=why):
            store.acknowledge(alert["id"], who, note, until)
    with pytest.raises(KeyError, match="no alert 77"):
        store.acknowledge(77, "ada")
    with pytest.raises(ValueError, match="state 'burning': expected one of pending, firing, resolved"):
        store.list("burning")
    with pytest.raises(ValueError, match="limit 0"):
        store.list(limit=0)


def test_an_alert_that_is_resolved_by_hand_stays_so_until_it_has_ended(
    namespace: str, path: Path, store: AlertStore
) -> None:
    watched(namespace, path, [(0, 0), (300, 0)])
    (alert,) = store.list()
    resolved = store.resolve(alert["id"], "ada")
    assert (resolved["state"], resolved["resolved_by"]) == ("resolved", "ada")
    assert resolved["resolved"] is not None
    watched(namespace, path, [(400, 0), (401, 0)])
    assert store.list() == [resolved]
    with pytest.raises(ValueError, match="is resolved"):
        store.resolve(alert["id"], "ada")
    with pytest.raises(ValueError, match="is resolved"):
        store.acknowledge(alert["id"], "ada")
    watched(namespace, path, [(402, 1), (403, 0), (703, 0)])
    assert [(one["state"], one["resolved_by"]) for one in store.list()] == [("firing", None), ("resolved", "ada")]


def test_what_a_real_alertmanager_sent_is_listed_once_and_resolved(store: AlertStore) -> None:
    firing, resolved = ((GOLDEN / f"alertmanager-{what}.json").read_bytes() for what in ("firing", "resolved"))
    ids = store.from_alertmanager(firing)
    assert store.from_alertmanager(firing) == ids
    listed = store.list()
    assert sorted(alert["id"] for alert in listed) == sorted(ids)
    assert {alert["labels"]["symbol"]: alert["state"] for alert in listed} == {"AAPL": "firing", "MSFT": "firing"}
    first = listed[-1]
    assert first | {"labels": {}} == {
        "id": ids[0], "source": "alertmanager", "name": "HighMarketDataLag", "labels": {}, "severity": "critical",
        "state": "firing", "value": None, "summary": "Market data of AAPL is “old”",
        "runbook": "https://example.com/runbook", "since": 1795653345.840843, "fired": 1795653345.840843,
        "resolved": None, "resolved_by": None, "acknowledged": None,
    }  # fmt: skip
    store.acknowledge(ids[0], "ada")
    assert store.from_alertmanager(resolved) == ids
    states = {alert["labels"]["symbol"]: alert["state"] for alert in store.list()}
    assert states == {"AAPL": "firing", "MSFT": "resolved"}
    assert store.list("firing")[0]["acknowledged"]["by"] == "ada"
    assert store.active() == []  # of rules


def test_what_a_group_has_no_more_is_over_until_it_is_told_again(store: AlertStore) -> None:
    message = json.loads((GOLDEN / "alertmanager-firing.json").read_bytes())
    aapl, msft = message["alerts"]
    store.from_alertmanager(message)
    store.from_alertmanager(message | {"groupKey": '{}:{alertname="Other"}', "alerts": []})
    store.from_alertmanager(message | {"alerts": [aapl], "truncatedAlerts": 1})
    store.from_alertmanager(message | {"alerts": [aapl], "groupKey": ""})
    assert [alert["state"] for alert in store.list()] == ["firing", "firing"]
    store.from_alertmanager(message | {"alerts": [aapl]})
    assert {alert["labels"]["symbol"]: alert["state"] for alert in store.list()} == {
        "AAPL": "firing",
        "MSFT": "resolved",
    }
    ids = store.from_alertmanager(message | {"alerts": [msft]})
    states = {alert["id"]: (alert["labels"]["symbol"], alert["state"]) for alert in store.list()}
    assert sorted(states.values()) == [("AAPL", "resolved"), ("MSFT", "firing")]
    assert states[ids[0]][0] == "MSFT"


def test_a_message_that_is_none_of_an_alertmanager_is_refused() -> None:
    good = json.loads((GOLDEN / "alertmanager-firing.json").read_bytes())
    assert len(message_of(good).alerts) == 2
    bad: list[tuple[Any, str]] = [
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "expected a JSON object, got list"),
        (b"{}", "version None: expected '4'"),
        (good | {"version": "3"}, "version '3'"),
        (good | {"alerts": {}}, "alerts: expected a list"),
        (good | {"alerts": [{}] * 1001}, "alerts: expected a list of at most 1,000"),
        (good | {"alerts": [3]}, "an alert is a JSON object, got int"),
        (good | {"groupKey": 3}, "groupKey: expected a text"),
        (good | {"groupKey": "x" * 5000}, "groupKey: expected a text of at most 4,096 characters"),
    ]
    alert = good["alerts"][0]
    for change, why in (
        ({"labels": {}}, "labels without alertname"),
        ({"labels": {"alertname": 3}}, "labels: expected an object of texts"),
        ({"labels": {"alertname": "x" * 5000}}, "texts of at most 4,096 characters"),
        ({"annotations": []}, "annotations: expected an object of texts"),
        ({"status": "burning"}, "status 'burning': expected firing or resolved"),
        ({"startsAt": "yesterday"}, "startsAt 'yesterday': expected a time such as"),
        ({"startsAt": "2026-11-26T00:35:45"}, "startsAt .*: expected a time such as"),
        ({"startsAt": None}, "startsAt None: expected a time such as"),
        ({"status": "resolved", "endsAt": 12}, "endsAt 12: expected a time such as"),
    ):
        bad.append((good | {"alerts": [alert | change]}, why))
    for body, why in bad:
        with pytest.raises(ValueError, match=why):
            message_of(body)
    strange = alert | {
        "annotations": {"summary": "half \ud800 a pair"},
        "labels": {"alertname": "A", "severity": "\ud800"},
    }
    assert message_of(good | {"alerts": [strange]}).alerts[0].summary == "half ? a pair"


def test_what_a_locked_database_does_not_take_is_told_it_later(
    namespace: str, path: Path, store: AlertStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shmtelemetry.service.database.PATIENCE", 0.01)
    watched(namespace, path, [(0, 1)])
    store.record([])
    other = sqlite3.connect(path, isolation_level=None)
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        AlertWatch(path, Rules.load()) as watch,
    ):
        telemetry.gauge("trading_bots_active_total", labels=("status",)).labels("running").set(0)
        reader.poll()
        other.execute("BEGIN IMMEDIATE")
        for second in (1, 100, 301):
            watch.look(reader.snapshot(), BEGIN + second)
            watch.keep()
        assert watch.failing
        assert watch.firing()["NoActiveBotsRunning", "P0"] == 1
        assert store.list() == []
        other.execute("ROLLBACK")
        other.close()
        watch.look(reader.snapshot(), BEGIN + 302)
        watch.keep()
        assert not watch.failing
    (alert,) = store.list()
    assert (alert["state"], alert["since"], alert["fired"]) == ("firing", BEGIN + 1, BEGIN + 301)
    assert caplog.messages == ["alerts are not listed, as long as that lasts: database is locked"]


def test_alerts_that_ended_long_ago_are_forgotten(store: AlertStore) -> None:
    then = BEGIN - 91 * 86400
    old = Alert("rules", "Old", {}, then, "P2", "", "", 1.0, then, then + 1)
    recent = Alert("rules", "Recent", {"a": "b"}, then, "P2", "", "", np.nan, then, BEGIN)
    ids = store.record([old, recent])
    assert len(set(ids)) == 2
    assert [alert["name"] for alert in store.list()] == ["Recent"]
    assert store.record([recent]) == ids[1:]
