"""SHMTEL_DISABLED=1, and a machine without a tmpfs: the same API, which does nothing and says so once."""

from __future__ import annotations

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, Telemetry
from shmtelemetry.segment import segment_names
from tests.processes import in_child

DTYPE = np.dtype([("seq", "<u8")])


@pytest.fixture(params=["environment", "no tmpfs"])
def disabled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "environment":
        monkeypatch.setenv("SHMTEL_DISABLED", "1")
    else:
        monkeypatch.setattr("shmtelemetry.producer.usable", lambda: False)


def test_a_disabled_producer_takes_nothing_and_counts_it(
    namespace: str, disabled: None, caplog: pytest.LogCaptureFixture
) -> None:
    with Producer("orders", DTYPE, namespace) as ring, Consumer("orders", namespace) as consumer:
        assert ring.emit_fields(1) is False
        assert ring.emit(bytes(8)) is False
        assert ring.emit(np.zeros(1, DTYPE)[0]) is False
        assert ring.emit_many(np.zeros(5, DTYPE)) == 0
        with pytest.raises(ValueError, match="expected 8 bytes"):
            ring.emit(b"")
        assert ring.last(3).shape == (0,)
        assert len(consumer.read()) == 0
        assert list(segment_names(namespace)) == []
        before = ring.stats()
        assert (before.attempted, before.dropped["no_ring"], before.rejected) == (9, 8, 1)
        assert before.holds
    assert ring.stats() == before
    assert [record.getMessage() for record in caplog.records] == [
        "telemetry does nothing: SHMTEL_DISABLED is set, or there is no tmpfs on /dev/shm"
    ]


def test_disabled_instruments_have_the_same_face(namespace: str, disabled: None) -> None:
    with Telemetry("bot", namespace) as tel:
        orders = tel.counter("orders", labels=("symbol",)).labels("AAPL")
        latency = tel.histogram("latency_seconds")
        assert [orders.inc(), tel.gauge("depth").set(1.0), latency.observe(1.0)] == [False] * 3
        with latency.time():
            pass
        assert 0 <= latency.stop(latency.start()) < 60
        with pytest.raises(ValueError, match="finite steps"):
            orders.inc(-1)
        with pytest.raises(ValueError, match="defined already"):
            tel.gauge("depth", "Otherwise.")
        stats = tel.stats()
        assert (stats.attempted, stats.dropped["no_ring"], stats.rejected) == (6, 5, 1)
    assert list(segment_names(namespace)) == []


def test_a_bad_argument_is_an_error_there_too(namespace: str, disabled: None) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Producer("orders", DTYPE, namespace, capacity=3)


def test_a_forked_child_counts_for_itself(namespace: str, disabled: None) -> None:
    with Producer("orders", DTYPE, namespace) as ring:
        ring.emit_fields(1)
        assert in_child(lambda: (ring.emit_fields(2), ring.stats().attempted)) == (False, 1)


@pytest.mark.parametrize("value", ["", "0"])
def test_an_empty_setting_disables_nothing(namespace: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHMTEL_DISABLED", value)
    with Producer("orders", DTYPE, namespace, capacity=8) as ring, Consumer("orders", namespace) as consumer:
        assert ring.emit_fields(1)
        assert len(consumer.read()) == 1
