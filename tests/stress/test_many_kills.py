"""kill -9 at many random moments."""

from __future__ import annotations

from random import Random

import pytest

from tests.chaos import Record
from tests.kills import emit_instruments, emit_records, kill_producers, kill_readers


@pytest.mark.stress
def test_of_five_hundred_killed_readers_none_loses_or_repeats_anything(namespace: str, record_property: Record) -> None:
    kill_readers(namespace, emit_instruments, 500, Random())
    record_property("readers killed with kill -9: nothing lost or counted twice", 500)


@pytest.mark.stress
def test_of_five_hundred_readers_killed_amid_records_none_loses_or_repeats_anything(
    namespace: str, record_property: Record
) -> None:
    kill_readers(namespace, emit_records, 500, Random())
    record_property("readers killed with kill -9: nothing lost or counted twice", 500)


@pytest.mark.stress
def test_of_a_thousand_killed_producers_all_that_was_published_is_counted(
    namespace: str, record_property: Record
) -> None:
    kill_producers(namespace, 1000, Random())
    record_property("producers killed with kill -9 one by one: all that was published is counted", 1000)
