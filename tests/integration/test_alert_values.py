"""Alerts while they last: their values, rules that cannot be evaluated, and what nobody ends."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.service.alerts import Alert, AlertStore, AlertWatch, Evaluator, Rules
from shmtelemetry.service.alerts import figures as worth

BEGIN = float(int(time.time()))
DEEP = """
[[rule]]
name = "Deep"
metric = "depth"
comparison = ">"
threshold = 10
for = "5s"
severity = "P1"
summary = "{value} wait."
"""
TWO = DEEP.replace("Deep", "Bad") + DEEP


def test_an_alert_tells_the_value_of_now(namespace: str, tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        AlertWatch(path, Rules.parse(DEEP, "rules.toml")) as watch,
        AlertStore(path) as store,
    ):
        depth, told = telemetry.gauge("depth"), []
        for second, value in ((0, 11), (1, 12), (6, 13), (7, 14), (8, 14), (9, 9)):
            depth.set(value)
            reader.poll()
            watch.look(reader.snapshot(), BEGIN + second)
            watch.keep()
            (alert,) = store.list()
            told.append((alert["state"], alert["value"], alert["summary"]))
        assert told == [
            ("pending", 11, "11 wait."),
            ("pending", 12, "12 wait."),
            ("firing", 13, "13 wait."),
            ("firing", 14, "14 wait."),
            ("firing", 14, "14 wait."),
            ("resolved", 14, "14 wait."),
        ]
        assert (alert["since"], alert["fired"], alert["resolved"]) == (BEGIN, BEGIN + 6, BEGIN + 9)


@pytest.mark.parametrize(
    ("values", "fires"),
    [((math.inf, -math.inf), False), ((1.7e308, 1.7e308), True), ((math.inf, 1.0), True), ((11.0, 1.0), True)],
)
def test_infinite_values_are_summed_up_as_they_are(
    namespace: str, values: tuple[float, float], fires: bool, caplog: pytest.LogCaptureFixture
) -> None:
    evaluator = Evaluator(Rules.parse(DEEP, "rules.toml"))
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        depth = telemetry.gauge("depth", labels=("n",))
        for n, value in enumerate(values):
            depth.labels(n).set(value)
        reader.poll()
        assert bool(evaluator.evaluate(reader.snapshot(), BEGIN)) == fires
    assert not caplog.messages


def test_a_rule_that_cannot_be_evaluated_is_said_once_and_costs_no_other(
    namespace: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator, are_there = Evaluator(Rules.parse(TWO, "rules.toml")), worth.Figures.are_there

    def broken(self: worth.Figures, rule: object) -> bool:
        if getattr(rule, "name", "") == "Bad":
            raise ValueError("not today")
        return are_there(self, rule)  # type: ignore[arg-type]

    monkeypatch.setattr(worth.Figures, "are_there", broken)
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.gauge("depth").set(11)
        reader.poll()
        found = [alert for second in range(7) for alert in evaluator.evaluate(reader.snapshot(), BEGIN + second)]
    assert [(alert.name, alert.state) for alert in found] == [("Deep", "pending"), ("Deep", "firing")]
    assert caplog.messages == ["rule Bad says nothing: not today"]


def test_alerts_begin_before_the_disk_can_be_read_and_go_on_with_what_it_has(
    namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, real = tmp_path / "alerts.sqlite", tmp_path / "real.sqlite"
    with AlertStore(real) as before:
        before.record([Alert("rules", "Deep", {}, BEGIN - 60, "P1", "20 wait.", "", 20.0, BEGIN - 55)])
    path.mkdir()  # which cannot be opened
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        AlertWatch(path, Rules.parse(DEEP, "rules.toml")) as watch,
    ):
        telemetry.gauge("depth").set(11)
        reader.poll()
        for second in range(7):
            watch.look(reader.snapshot(), BEGIN + second)
            watch.keep()
        assert watch.failing
        assert watch.firing() == {("Deep", "P1"): 1}
        path.rmdir()
        real.rename(path)
        watch.look(reader.snapshot(), BEGIN + 8)
        watch.keep()
        assert not watch.failing
        assert watch.firing() == {("Deep", "P1"): 1}
        with AlertStore(path) as store:
            (alert,) = store.list()
        assert (alert["since"], alert["value"], alert["state"]) == (BEGIN - 60, 11, "firing")
    assert caplog.messages == ["alerts are not listed, as long as that lasts: unable to open database file"]


def test_what_waits_for_the_disk_is_bounded_and_the_list_is_right_afterwards(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shmtelemetry.service.alerts.watch.MOST", 20)
    rules = Rules.parse(DEEP.replace('for = "5s"', ""), "rules.toml")
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        AlertWatch(tmp_path / "alerts.sqlite", rules) as watch,
        AlertStore(tmp_path / "alerts.sqlite") as store,
    ):
        depth = telemetry.gauge("depth")

        def look(second: int, value: float) -> None:
            depth.set(value)
            reader.poll()
            watch.look(reader.snapshot(), BEGIN + second)

        look(0, 11)
        watch.keep()
        for second in range(1, 101):  # nothing is stored of these
            look(second, 11 if second % 2 else 9)
            assert len(watch._changed) <= 20
        look(101, 9)
        watch.keep()
        assert store.list("firing") == []
        assert 0 < len(store.list("resolved")) <= 22


def test_what_no_alertmanager_repeats_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = BEGIN
    monkeypatch.setattr("time.time", lambda: now)
    with AlertStore(tmp_path / "alerts.sqlite") as store:
        alerts = [Alert("alertmanager", name, {}, BEGIN, "", "", "", math.nan, BEGIN) for name in ("a", "b", "c")]
        store.record([*alerts, Alert("rules", "lasting", {}, BEGIN, "", "", "", 1.0, BEGIN)])
        store.resolve(1, "ada")
        now += 60 * 86400
        store.record([alerts[2]])  # is repeated
        now += 31 * 86400
        store.record([])
        assert sorted(alert["name"] for alert in store.list()) == ["c", "lasting"]
        assert {alert["state"] for alert in store.list()} == {"firing"}
