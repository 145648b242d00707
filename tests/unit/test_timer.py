"""Measuring time: start and stop, a block, a function, a coroutine."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Iterator

import pytest

from shmtelemetry import Consumer, Telemetry
from tests.processes import drained


@pytest.fixture
def tel(namespace: str) -> Iterator[Telemetry]:
    with Telemetry("bot", namespace, capacity=64) as telemetry:
        yield telemetry


@pytest.fixture
def consumer(tel: Telemetry, namespace: str) -> Iterator[Consumer]:
    with Consumer("bot", namespace) as consumer:
        yield consumer
        assert len(consumer.read()) == 0


def at_least(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.mark.parametrize(
    ("name", "unit", "per_second"),
    [("h_seconds", None, 1), ("h", None, 1), ("h_ms", None, 1e3), ("h", "us", 1e6), ("h_ns", None, 1e9)],
)
def test_stop_observes_in_the_metrics_unit_and_returns_seconds(
    tel: Telemetry, consumer: Consumer, name: str, unit: str | None, per_second: float
) -> None:
    latency = tel.histogram(name, unit=unit)
    before = time.perf_counter()
    start = latency.start()
    at_least(0.002)
    seconds = latency.stop(start)
    around = time.perf_counter() - before
    assert 0.0019 < seconds < around * 1.01
    assert float(drained(consumer, 1)[0]["value"]) == pytest.approx(seconds * per_second)


def test_a_metric_in_another_unit_measures_no_time(tel: Telemetry, consumer: Consumer) -> None:
    size = tel.histogram("message_bytes")
    with pytest.raises(ValueError, match="message_bytes is in bytes, which is no unit of time"):
        size.stop(size.start())


def test_a_stop_before_its_start_is_nothing(tel: Telemetry, consumer: Consumer) -> None:
    latency = tel.histogram("latency_seconds")
    assert latency.stop(latency.start() + 10**15) == 0.0
    assert drained(consumer, 1)["value"].tolist() == [0.0]


def test_a_block_is_observed_once_also_when_it_raises(tel: Telemetry, consumer: Consumer) -> None:
    latency = tel.histogram("latency_seconds")
    with latency.time():
        at_least(0.001)
    with pytest.raises(KeyError), latency.time():
        raise KeyError
    first, second = drained(consumer, 2)["value"].tolist()
    assert first >= 0.00099
    assert second >= 0


def test_a_timer_nests_and_recurses(tel: Telemetry, consumer: Consumer) -> None:
    latency = tel.histogram("latency_seconds")
    timer = latency.time()
    with timer, timer:
        at_least(0.001)
    inner, outer = drained(consumer, 2)["value"].tolist()
    assert 0.00099 <= inner <= outer

    @latency.time()
    def depth(n: int) -> int:
        return 0 if n == 0 else 1 + depth(n - 1)

    assert depth(3) == 3
    observed = drained(consumer, 4)["value"].tolist()
    assert observed == sorted(observed)


def test_a_decorated_function_stays_what_it_was(tel: Telemetry, consumer: Consumer) -> None:
    latency = tel.histogram("latency_seconds")

    @latency.time()
    def add(a: int, *, b: int = 2) -> int:
        """Adds."""
        at_least(0.001)
        return a + b

    assert (add(1), add(1, b=5)) == (3, 6)
    assert (add.__name__, add.__doc__, str(inspect.signature(add))) == (
        "add",
        "Adds.",
        "(a: 'int', *, b: 'int' = 2) -> 'int'",
    )
    assert not inspect.iscoroutinefunction(add)
    assert min(drained(consumer, 2)["value"]) >= 0.00099

    class Service:
        @latency.time()
        def work(self, n: int) -> int:
            return n

    assert Service().work(5) == 5
    drained(consumer, 1)


def test_a_decorated_coroutine_function_is_one_and_is_timed_to_its_end(tel: Telemetry, consumer: Consumer) -> None:
    latency = tel.histogram("latency_seconds")

    @latency.time()
    async def slow(n: int) -> int:
        await asyncio.sleep(0.002)
        return n

    @latency.time()
    async def failing() -> None:
        raise KeyError

    async def both() -> list[int]:
        return await asyncio.gather(slow(1), slow(2))

    assert inspect.iscoroutinefunction(slow)
    assert slow.__name__ == "slow"
    assert asyncio.run(both()) == [1, 2]
    assert min(drained(consumer, 2)["value"]) >= 0.0019
    with pytest.raises(KeyError):
        asyncio.run(failing())
    drained(consumer, 1)


def test_a_start_outlives_the_ring(namespace: str) -> None:
    with Telemetry("bot", namespace, capacity=8) as tel:
        latency = tel.histogram("latency_seconds")
        before = time.perf_counter()
        start = latency.start()
    assert 0 <= latency.stop(start) <= (time.perf_counter() - before) * 1.01
