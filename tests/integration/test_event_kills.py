"""kill -9 of services that store events; the many are in tests/stress."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.event_kills import EventWitness, integrity, kill_greedy_services, kill_service_at_line, kill_services


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 2**64 - 3000])
def test_of_killed_services_each_event_is_stored_once(namespace: str, tmp_path: Path, start: int) -> None:
    path = tmp_path / "events.sqlite"
    assert kill_services(namespace, path, 8, Random(1), start) > 0
    assert integrity(path) == "ok"


@pytest.mark.slow
def test_of_services_that_are_killed_and_too_slow_each_event_is_stored_once_or_counted(
    namespace: str, tmp_path: Path
) -> None:
    stored, _ = kill_greedy_services(namespace, tmp_path / "events.sqlite", 8, Random(2))
    assert stored > 0


@pytest.mark.slow
@pytest.mark.parametrize("module", ["reader/feed.py", "reader/keeper.py", "service/"])
def test_a_kill_at_a_line_of_what_stores_events_is_as_if_it_had_not_been(
    namespace: str, tmp_path: Path, module: str
) -> None:
    made = EventWitness(namespace, tmp_path / "events.sqlite")
    try:
        lines = range(1, kill_service_at_line(made, None, module) + 1)
        for line in lines if len(lines) < 50 else sorted(Random(5).sample(lines, 50)):
            kill_service_at_line(made, line, module)
    finally:
        made.close()
