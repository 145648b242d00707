"""The short form of `make soak`, and whether it would find what grows."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

from tests import soak
from tests.slopes import Level

MINUTE = np.arange(0.0, 60.0, 0.1)
LIMIT = 2.0


@pytest.mark.slow
def test_a_short_soak_leaves_every_total_exact_and_nothing_else(namespace: str) -> None:
    with mock.patch.multiple(soak, WARM=0.5, STOP_EVERY=2.0, STOPPED=0.3):
        samples, tally, emitted = soak.soak(namespace, 5.0)
    assert [level.what for level in soak.levels(samples)] == list(soak.LIMITS)
    assert min(tally.kills, emitted["steps"], emitted["seconds"], emitted["scrapes"]) > 0


@pytest.mark.parametrize(
    ("growth", "is_level"), [(0.0, True), (-5.0, True), (0.9 * LIMIT, True), (1.1 * LIMIT, False), (100.0, False)]
)
def test_growth_is_found_among_noise_and_spikes(growth: float, is_level: bool) -> None:
    chance = np.random.default_rng(1)
    values = 50.0 + growth * MINUTE / MINUTE[-1] + chance.normal(0.0, 0.01, len(MINUTE))
    values[chance.integers(0, len(MINUTE), 60)] += 500.0  # scrapes behind a reader that was stopped
    assert Level("it", "MiB", MINUTE, values, LIMIT).is_level == is_level
