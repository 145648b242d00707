"""A reader that is killed at one place after the other: the next one finds everything exactly once."""

from __future__ import annotations

from random import Random

import pytest

from tests.exactness import kill_after_instructions, kill_at_line, witness

STRIDE = 5  # instructions between two kills; where they begin is different in every run


@pytest.mark.stress
def test_a_kill_at_any_instruction_of_the_loop_is_as_if_it_had_not_been(namespace: str) -> None:
    with witness(namespace) as made:
        bound = Random().randrange(1, STRIDE + 1)
        while kill_after_instructions(made, bound) == bound:
            bound += STRIDE


@pytest.mark.stress
def test_a_kill_at_any_line_of_the_keeper_is_as_if_it_had_not_been(namespace: str) -> None:
    with witness(namespace) as made:
        bound = 1
        while kill_at_line(made, bound) == bound:
            bound += 1
