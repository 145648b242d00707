"""Exponential histograms: bucket i holds 2**((i - 1) / 32) < v <= 2**(i / 32), to the last bit of every double."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.histograms import exponential_counts, histogram_of

SMALLEST = sys.float_info.min  # of the normal doubles
LARGEST = sys.float_info.max
ANY = st.floats(allow_nan=False)


def bucket_of(value: float) -> int:
    """The least i with value**32 <= 2**i, by integers alone."""
    numerator, denominator = value.as_integer_ratio()  # the denominator is a power of two
    return (numerator**32 - 1).bit_length() - 32 * (denominator.bit_length() - 1)


def last_of_bucket(index: int) -> float:
    """The largest double of a bucket: the largest v with v**32 <= 2**index."""
    low, high = math.ldexp(1.0, (index - 1) // 32), math.ldexp(1.0, -(-index // 32))
    while math.nextafter(low, high) < high:
        middle = low + (high - low) / 2
        low, high = (middle, high) if bucket_of(middle) <= index else (low, middle)
    return high if bucket_of(high) <= index else low


def every_bound() -> Iterator[float]:
    """The last double of each bucket and its two neighbours, of all octaves."""
    octave = [last_of_bucket(index) for index in range(32)]
    for exponent in range(-1022, 1024):
        for value in octave:
            bound = math.ldexp(value, exponent)
            yield from (math.nextafter(bound, 0.0), bound, math.nextafter(bound, math.inf))


def test_the_oracle_agrees_with_the_definition() -> None:
    assert [bucket_of(value) for value in (0.5, 1.0, 2.0, 4.0)] == [-32, 0, 32, 64]
    assert bucket_of(math.nextafter(1.0, 2.0)) == 1
    assert bucket_of(2 ** (16.5 / 32)) == 17


@given(st.lists(ANY, max_size=100))
def test_every_value_is_counted_in_its_bucket(values: list[float]) -> None:
    histogram = histogram_of(values)
    plain = [value for value in values if SMALLEST <= value <= LARGEST]
    assert exponential_counts(histogram) == Counter(map(bucket_of, plain))
    assert histogram.zeros == sum(abs(value) < SMALLEST for value in values)
    assert histogram.negatives == sum(value <= -SMALLEST for value in values)
    assert histogram.infinities == values.count(math.inf)


@given(st.lists(st.integers(-1022 * 32, 1023 * 32), max_size=100))
def test_bounds_and_their_neighbours_are_told_apart(indices: list[int]) -> None:
    bounds = [last_of_bucket(index) for index in indices]
    near = [neighbour for bound in bounds for neighbour in (bound, math.nextafter(bound, math.inf))]
    plain = [value for value in near if SMALLEST <= value <= LARGEST]
    assert exponential_counts(histogram_of(plain)) == Counter(map(bucket_of, plain))


@pytest.mark.slow
def test_all_bounds_of_all_octaves_are_told_apart_from_their_neighbours() -> None:
    values = [value for value in every_bound() if SMALLEST <= value <= LARGEST]
    expected = Counter(map(bucket_of, values))
    assert len(expected) == 2046 * 32 + 1
    assert exponential_counts(histogram_of(values)) == expected


@given(
    st.lists(ANY, min_size=1, max_size=100), st.lists(ANY.filter(math.isfinite), min_size=1, max_size=20, unique=True)
)
def test_both_kinds_of_buckets_count_every_observation_once(values: list[float], bounds: list[float]) -> None:
    histogram = histogram_of(values, sorted(bounds))
    places = histogram.zeros + histogram.negatives + histogram.infinities + sum(exponential_counts(histogram).values())
    assert places == histogram.buckets[-1][1] == histogram.count == len(values)


@pytest.mark.parametrize("value", [5e-324, math.nextafter(SMALLEST, 0.0), 0.0, -0.0, -5e-324])
def test_zero_and_subnormal_values_are_zeros(value: float) -> None:
    histogram = histogram_of([value])
    assert (histogram.zeros, histogram.negatives, histogram.infinities) == (1, 0, 0)
    assert exponential_counts(histogram) == {}


@pytest.mark.parametrize("value", [-SMALLEST, -1.0, -LARGEST, -math.inf])
def test_negative_values_have_a_place_of_their_own(value: float) -> None:
    histogram = histogram_of([value])
    assert (histogram.zeros, histogram.negatives, histogram.infinities) == (0, 1, 0)
    assert (histogram.min, histogram.max, histogram.sum) == (value, value, value)
