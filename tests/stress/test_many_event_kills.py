"""kill -9 of services that store events, at many random moments and at every line."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.chaos import Record
from tests.event_kills import EventWitness, integrity, kill_greedy_services, kill_service_at_line, kill_services


@pytest.mark.stress
@pytest.mark.parametrize("start", [0, 2**64 - 30_000])
def test_of_many_killed_services_each_event_is_stored_once(
    namespace: str, tmp_path: Path, start: int, record_property: Record
) -> None:
    path = tmp_path / "events.sqlite"
    record_property(
        "events stored once by services killed with kill -9", kill_services(namespace, path, 100, Random(), start)
    )
    record_property("services killed with kill -9 while they stored events", 100)
    assert integrity(path) == "ok"


@pytest.mark.stress
def test_of_many_killed_services_that_are_too_slow_each_event_is_stored_once_or_counted(
    namespace: str, tmp_path: Path, record_property: Record
) -> None:
    stored, let_go = kill_greedy_services(namespace, tmp_path / "events.sqlite", 100, Random())
    record_property("events stored once by services killed with kill -9", stored)
    record_property("events that services which were too slow let go of, and counted", let_go)
    record_property("services killed with kill -9 while they stored events", 100)


@pytest.mark.stress
@pytest.mark.parametrize("module", ["reader/feed.py", "reader/keeper.py", "service/"])
def test_a_kill_at_any_line_of_what_stores_events_is_as_if_it_had_not_been(
    namespace: str, tmp_path: Path, module: str, record_property: Record
) -> None:
    made = EventWitness(namespace, tmp_path / "events.sqlite")
    try:
        bound = 1
        while kill_service_at_line(made, bound, module) == bound:
            bound += 1
    finally:
        made.close()
    record_property("lines of the event store at which a kill is as if it had not been", bound - 1)
