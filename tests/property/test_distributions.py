"""The distributions of a whole family against those of each of its series."""

from __future__ import annotations

import secrets

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shmtelemetry import Reader, Telemetry
from tests.histograms import exponential_counts

observed = st.floats(allow_nan=False) | st.floats(1e-9, 1e3) | st.sampled_from([0.0, 1.0, 1.01, 2.0**-1022, 5e-324])


@given(st.lists(st.lists(observed, max_size=20), min_size=1, max_size=6))
def test_they_are_those_of_each_series(observations: list[list[float]]) -> None:
    namespace = f"test-{secrets.token_hex(6)}"
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=256) as telemetry:
        histogram = telemetry.histogram("h", labels=("series",), buckets=(1.0,))
        for number, values in enumerate(observations):
            handle = histogram.labels(str(number))
            assert [handle.observe(value) for value in values] == [True] * len(values)
        reader.poll()
        snapshot = reader.snapshot()
        family, found = snapshot.families["h"], snapshot.distributions("h")
        assert found.begin.shape == (len(family.labels) + 1,)
        for at, (label,) in enumerate(family.labels):
            one = snapshot.histogram("h", series=label)
            buckets = slice(found.begin[at], found.begin[at + 1])
            counts = dict(zip(found.indices[buckets].tolist(), found.counts[buckets].tolist(), strict=True))
            assert counts == exponential_counts(one)
            assert list(counts) == sorted(counts)
            assert (found.zeros[at], found.negatives[at]) == (one.zeros, one.negatives)
            assert found.infinities[at] == one.infinities
            assert sum(counts.values()) + one.zeros + one.negatives + one.infinities == one.count
            if one.count:
                assert (found.minima[at], found.maxima[at]) == (one.min, one.max)
        assert (found.begin.dtype, found.indices.dtype, found.counts.dtype) == (np.int64, np.int32, np.uint64)
