"""Every subject under pytest-benchmark: `pytest benchmarks --benchmark-json FILE`."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.subjects import GROUPS
from shmtelemetry.cli.bench import Subject, label_of, measure_fresh, name_of


class Replay:
    """A clock that shows the time of the process that was measured, not of this one."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, nanoseconds: float) -> None:
        """Let one item of a round pass."""
        self.seconds += nanoseconds * 1e-9


clock = Replay()


@pytest.mark.benchmark(timer=clock)
@pytest.mark.parametrize(
    ("group", "subject"),
    [
        pytest.param(group, subject, id=name_of(subject).partition(":")[2])
        for group in GROUPS
        for subject in GROUPS[group]
    ],
)
def test_a_subject_is_measured_in_a_process_of_its_own(
    benchmark: BenchmarkFixture, group: str, subject: Subject
) -> None:
    rounds = measure_fresh(name_of(subject))
    benchmark.group = group
    benchmark.extra_info.update(subject=name_of(subject), label=label_of(subject))
    left = iter(rounds)
    clock.seconds = 0.0  # a clock that has run for long has fewer digits left for nanoseconds
    benchmark.pedantic(lambda: clock.advance(next(left)), rounds=len(rounds))
