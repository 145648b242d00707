"""kill -9 at random moments; the many are in tests/stress."""

from __future__ import annotations

from random import Random

import pytest

from tests.exactness import check_every_instant, kill_at_line, witness
from tests.kills import emit_instruments, emit_records, kill_producers, kill_readers


@pytest.mark.slow
def test_readers_that_are_killed_lose_nothing_and_count_nothing_twice(namespace: str) -> None:
    kill_readers(namespace, emit_instruments, 20, Random(1))


@pytest.mark.slow
def test_readers_that_are_killed_while_they_read_records_of_a_schema_are_as_exact(namespace: str) -> None:
    kill_readers(namespace, emit_records, 20, Random(2))


@pytest.mark.slow
def test_all_that_killed_producers_had_published_is_counted_and_their_segments_go(namespace: str) -> None:
    kill_producers(namespace, 20, Random(3))


@pytest.mark.slow
@pytest.mark.unsanitized(reason="a sanitizer makes a hundred instructions of each, and this stops after every one")
def test_a_kill_after_an_instruction_of_the_loop_is_as_if_it_had_not_been(namespace: str) -> None:
    with witness(namespace) as made:
        assert check_every_instant(made) > 300


@pytest.mark.slow
@pytest.mark.parametrize("module", ["reader/keeper.py", "aggregate/parts.py", "aggregate/state.py"])
def test_a_kill_at_a_line_of_what_the_keeper_does_is_as_if_it_had_not_been(namespace: str, module: str) -> None:
    with witness(namespace) as made:
        lines = range(1, kill_at_line(made, None, module) + 1)
        for line in lines if len(lines) < 100 else Random(5).sample(lines, 100):
            kill_at_line(made, line, module)
