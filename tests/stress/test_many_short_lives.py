"""Ten thousand short-lived producers."""

from __future__ import annotations

import pytest

from tests.chaos import Record
from tests.churn import assert_nothing_was_lost, churn
from tests.readers import reader

COUNT = 10_000


@pytest.mark.stress
def test_ten_thousand_short_lived_producers_leave_their_totals_and_nothing_else(
    namespace: str, record_property: Record
) -> None:
    with reader(namespace, "--ephemeral") as served:
        looks = churn(namespace, served.url, served.process.pid, COUNT)
    assert_nothing_was_lost(looks, COUNT)
    record_property("producers that came and went, a third of them killed: totals exact, nothing grew", COUNT)
