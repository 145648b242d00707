"""What a histogram says of its values: count, sum, extremes and quantiles."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from shmtelemetry import SAMPLE, Reader, Telemetry
from shmtelemetry.aggregate.snapshot import HistogramValue
from tests.histograms import histogram_of

QUANTILES = (0.0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.99999, 1.0)
COUNT = 50_000


def values_of(shape: str, scale: float) -> npt.NDArray[np.float64]:
    chance = np.random.default_rng(11)
    if shape == "normal":
        return np.abs(chance.normal(scale, scale / 5, COUNT))
    if shape == "log-normal":
        return np.minimum(chance.lognormal(math.log(scale), 1.5, COUNT), 1000.0)
    if shape == "bimodal":
        return np.where(chance.random(COUNT) < 0.5, chance.normal(scale, scale / 50, COUNT), 100 * scale)
    return np.full(COUNT, scale)


@cache
def observed(shape: str, scale: float) -> HistogramValue:
    return histogram_of(values_of(shape, scale).tolist())


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 3.3e-3, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize("shape", ["normal", "log-normal", "bimodal", "constant"])
def test_a_quantile_is_at_most_1_1_percent_away_from_a_value_of_that_rank(shape: str, scale: float) -> None:
    values = values_of(shape, scale)
    for q in QUANTILES:
        exact = float(np.quantile(values, q, method="inverted_cdf"))
        assert observed(shape, scale).quantile(q) == pytest.approx(exact, rel=0.011)


@pytest.mark.parametrize("shape", ["normal", "log-normal", "bimodal", "constant"])
def test_count_sum_and_extremes_are_those_of_the_values(shape: str) -> None:
    histogram, values = observed(shape, 1.0), values_of(shape, 1.0).tolist()
    in_order = 0.0
    for value in values:
        in_order += value
    assert (histogram.count, histogram.sum) == (len(values), in_order)
    assert (histogram.min, histogram.max) == (min(values), max(values))


@pytest.mark.parametrize("q", QUANTILES)
def test_the_quantiles_of_equal_values_are_that_value(q: float) -> None:
    assert histogram_of([0.007] * 3).quantile(q) == 0.007


def test_quantiles_pass_through_negatives_zeros_and_infinities() -> None:
    histogram = histogram_of([-3.0, -2.0, 0.0, 5.0, math.inf])
    assert [histogram.quantile(q) for q in (0.2, 0.4, 0.6)] == [-3.0, -3.0, 0.0]
    assert histogram.quantile(0.8) == pytest.approx(5.0, rel=0.011)
    assert histogram.quantile(1.0) == math.inf


def test_a_histogram_without_observations_has_no_quantiles_and_no_extremes() -> None:
    histogram = histogram_of([])
    assert (histogram.count, histogram.sum) == (0, 0.0)
    assert all(math.isnan(value) for value in (histogram.min, histogram.max, histogram.quantile(0.5)))


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        histogram_of([1.0]).quantile(q)


def test_nan_in_a_raw_record_is_counted_as_invalid_and_changes_nothing_else(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.histogram("h").observe(1.0)
        telemetry._producer.emit_many(np.array([(0, 0, 0, math.nan), (0, 0, 0, 2.0)], SAMPLE))
        reader.poll()
        snapshot = reader.snapshot()
        histogram = snapshot.histogram("h")
        assert (histogram.count, histogram.sum) == (2, 3.0)
        assert snapshot.producers["p"].invalid == 1
        assert snapshot.producers["p"].consumed == 3
        assert snapshot.value("shmtel_invalid_records_total", producer="p") == 1
