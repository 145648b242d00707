"""A reader that is killed at one place after the other: the next one finds everything exactly once."""

from __future__ import annotations

import pytest

from tests.chaos import Record
from tests.exactness import check_every_instant, kill_at_line, witness


@pytest.mark.stress
def test_a_kill_after_any_instruction_of_the_loop_is_as_if_it_had_not_been(
    namespace: str, record_property: Record
) -> None:
    with witness(namespace) as made:
        instants = sum(check_every_instant(made) for _ in range(100))
    record_property("instants of the reader's loop at which a kill is as if it had not been", instants)


@pytest.mark.stress
def test_a_kill_at_any_line_of_the_keeper_is_as_if_it_had_not_been(namespace: str, record_property: Record) -> None:
    with witness(namespace) as made:
        bound = 1
        while kill_at_line(made, bound) == bound:
            bound += 1
    record_property("lines of the keeper at which a kill is as if it had not been", bound - 1)
