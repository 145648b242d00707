"""What the holder of the reader's role keeps beside the totals."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Producer, Telemetry
from shmtelemetry.recording import Recording
from shmtelemetry.service.alerts import AlertStore
from shmtelemetry.service.database import database_path
from shmtelemetry.service.history import History, trouble
from shmtelemetry.service.settings import ServiceSettings
from shmtelemetry.trading.schemas import ORDER, ORDER_TYPES, SIDES
from tests.processes import PATIENCE, wait_until


def settings(namespace: str, folder: Path) -> ServiceSettings:
    return ServiceSettings(namespace, state_dir=folder, reader={"ephemeral": True})


def test_figures_that_the_history_lost_are_exported(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shmtelemetry.service.database.PATIENCE", 0.01)
    chosen = settings(namespace, tmp_path)
    with Recording(chosen) as recording:
        path = database_path(namespace, tmp_path)
        with History(path) as history:
            wait_until(lambda: history.series("shmtel_series"), "history is kept")
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        wait_until(
            lambda: recording.reader.scrape().value("history_lost_figures_total") > 0, "lost figures are counted"
        )
        holder.execute("ROLLBACK")
        holder.close()


RULE = """
[[rule]]
name = "Deep"
metric = "depth"
comparison = ">"
threshold = 10
severity = "P1"
summary = "{value} wait."
"""


def test_alerts_wait_for_no_disk_and_who_looks_sees_that_it_takes_nothing(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shmtelemetry.service.database.PATIENCE", 3600.0)  # history waits for as long as it is locked
    rules = tmp_path / "rules.toml"
    rules.write_text(RULE)
    chosen = ServiceSettings(namespace, state_dir=tmp_path, reader={"ephemeral": True}, rules=rules)
    with Recording(chosen) as recording, Telemetry("p", namespace) as telemetry:

        def firing() -> float:
            return recording.reader.scrape().value("alerts_firing", alert="Deep", severity="P1")

        path = database_path(namespace, tmp_path)
        with History(path) as history:
            wait_until(lambda: history.series("alerts_firing"), "history is kept")
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        depth = telemetry.gauge("depth")
        for value, fires in ((11, 1), (9, 0), (12, 1)):
            depth.set(value)
            wait_until(lambda fires=fires: firing() == fires, "the rule is looked at")
        holder.execute("ROLLBACK")
        holder.close()
        with AlertStore(path) as store:
            wait_until(lambda: [alert["value"] for alert in store.list("firing")] == [12], "it is listed")


def test_that_the_disk_takes_nothing_is_told_in_figures(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shmtelemetry.service.database.PATIENCE", 0.01)
    with Recording(settings(namespace, tmp_path)) as recording:

        def told() -> str:
            return trouble(recording.reader.scrape())

        path = database_path(namespace, tmp_path)
        with History(path) as history:
            wait_until(lambda: history.series("recording_failing"), "history is kept")
        assert told() == ""
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with Producer("orders", ORDER, namespace) as ring:
            ring.emit(np.zeros(1, ORDER.dtype)[0])
        wait_until(lambda: told() == "the disk does not take events and history: the log says why", "it is told")
        holder.execute("ROLLBACK")
        holder.close()
        wait_until(lambda: not told(), "it is over")


def test_events_tell_numbers_by_their_names(namespace: str, tmp_path: Path) -> None:
    with Recording(settings(namespace, tmp_path)) as recording:
        with Producer("orders", ORDER, namespace) as ring:
            order = np.zeros(1, ORDER.dtype)
            order["side"], order["order_type"] = 1, 2
            assert ring.emit(order[0])
        assert recording.reader.settle(PATIENCE)
        with History(database_path(namespace, tmp_path)) as history:
            (event,) = history.events(ORDER)
    assert (event["side"], event["order_type"]) == (SIDES[1], ORDER_TYPES[2])
