"""Ten thousand short-lived producers."""

from __future__ import annotations

import pytest

from tests.churn import assert_nothing_was_lost, churn
from tests.readers import reader

COUNT = 10_000


@pytest.mark.stress
def test_ten_thousand_short_lived_producers_leave_their_totals_and_nothing_else(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as served:
        looks = churn(namespace, served.url, served.process.pid, COUNT)
    assert_nothing_was_lost(looks, COUNT)
    print([(round(look.seconds * 1e3, 1), look.length, look.resident_kib, look.files) for look in looks])
