"""Buckets as the service tells them are made of whole buckets of a distribution."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shmtelemetry.aggregate.snapshot import HistogramValue
from shmtelemetry.service.series import MERGED, SCALE, _coarse


def value_of(first: int, counts: list[int]) -> HistogramValue:
    return HistogramValue(
        count=sum(counts), sum=0.0, min=math.nan, max=math.nan, zeros=0, negatives=0, infinities=0, first=first,
        exponential=np.array(counts, np.uint64), buckets=(),
    )  # fmt: skip


@given(st.integers(-32_000, 32_000), st.lists(st.integers(0, 2**40), min_size=1, max_size=200))
def test_every_bucket_is_told_within_the_one_that_holds_it(first: int, counts: list[int]) -> None:
    begin, told = _coarse(value_of(first, counts))
    expected: Counter[int] = Counter()
    for at, count in enumerate(counts):
        # Bucket i of scale 5 ends at 2**(i / 32): the one of scale 2 that ends there or next is the one around it.
        expected[math.ceil((first + at) * 2**SCALE / 32)] += count
    assert {begin + at: count for at, count in enumerate(told)} == dict(expected)
    assert sum(told) == sum(counts)
    assert MERGED * 2**SCALE == 32


def test_of_nothing_there_are_no_buckets() -> None:
    assert _coarse(value_of(5, [])) == (0, [])
