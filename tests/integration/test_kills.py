"""kill -9 at random moments; the many are in tests/stress."""

from __future__ import annotations

from random import Random

import pytest

from tests.exactness import kill_after_instructions, kill_at_line, witness
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
def test_a_kill_at_an_instruction_of_the_loop_is_as_if_it_had_not_been(namespace: str) -> None:
    chance = Random(4)
    with witness(namespace) as made:
        end = kill_after_instructions(made, None)
        for _ in range(20):
            kill_after_instructions(made, chance.randrange(1, end))


@pytest.mark.slow
def test_a_kill_at_a_line_of_the_keeper_is_as_if_it_had_not_been(namespace: str) -> None:
    chance = Random(5)
    with witness(namespace) as made:
        end = kill_at_line(made, None)
        for _ in range(60):
            kill_at_line(made, chance.randrange(1, end))
