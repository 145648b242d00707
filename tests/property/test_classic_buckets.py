"""Classic buckets are counted from the values themselves: `le` is inclusive to the last bit."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from shmtelemetry.metric import MAX_BUCKETS
from tests.histograms import histogram_of

FINITE = st.floats(allow_nan=False, allow_infinity=False)
BOUNDS = st.lists(FINITE, max_size=40, unique=True).map(sorted)


def neighbours(bounds: list[float]) -> list[float]:
    return [
        value
        for bound in bounds
        for value in (bound, math.nextafter(bound, math.inf), math.nextafter(bound, -math.inf))
    ]


def at_most(values: list[float], bound: float) -> int:
    return sum(value <= bound for value in values)


@given(BOUNDS, st.lists(st.floats(allow_nan=False), max_size=50))
def test_a_bucket_counts_the_values_up_to_and_including_its_bound(bounds: list[float], values: list[float]) -> None:
    observed = values + neighbours(bounds)
    histogram = histogram_of(observed, bounds)
    assert histogram.buckets == tuple((bound, at_most(observed, bound)) for bound in (*bounds, math.inf))


def test_as_many_buckets_as_there_may_be_are_exact() -> None:
    bounds = [float(bound) for bound in range(MAX_BUCKETS)]
    histogram = histogram_of(neighbours(bounds), bounds)
    assert [count for _, count in histogram.buckets] == [3 * at + 2 for at in range(MAX_BUCKETS)] + [3 * MAX_BUCKETS]


def test_a_histogram_without_bounds_has_the_bucket_of_all() -> None:
    assert histogram_of([1.0, math.inf, -1.0], ()).buckets == ((math.inf, 3),)
