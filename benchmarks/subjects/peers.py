"""What others take for one observation, or to hand one over to another process."""

from __future__ import annotations

import multiprocessing
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from shmtelemetry.cli.bench import CALLS, Timing

SLOW_CALLS = 5_000
"""Calls of a round for what takes about a microsecond."""


@contextmanager
def prometheus_counter(calls: int = CALLS) -> Iterator[Timing]:
    """prometheus_client: Counter.inc()"""
    from prometheus_client import CollectorRegistry, Counter

    counter = Counter("orders", "Orders sent.", registry=CollectorRegistry())
    yield Timing("counter.inc(1.0)", {"counter": counter}, calls)


@contextmanager
def prometheus_labels(calls: int = SLOW_CALLS) -> Iterator[Timing]:
    """prometheus_client: Counter.labels().inc()"""
    from prometheus_client import CollectorRegistry, Counter

    counter = Counter("orders", "Orders sent.", ["symbol", "side"], registry=CollectorRegistry())
    yield Timing('counter.labels("AAPL", "buy").inc(1.0)', {"counter": counter}, calls)


@contextmanager
def prometheus_histogram(calls: int = CALLS) -> Iterator[Timing]:
    """prometheus_client: Histogram.observe()"""
    from prometheus_client import CollectorRegistry, Histogram

    histogram = Histogram("latency_seconds", "Latency.", registry=CollectorRegistry())
    yield Timing("histogram.observe(0.0125)", {"histogram": histogram}, calls)


@contextmanager
def _multiprocess_mode() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from prometheus_client import values

        # The mode is chosen when the module is imported; an earlier import would measure the other mode.
        if values.ValueClass is values.MutexValue:
            raise RuntimeError("prometheus_client was imported before its multiprocess mode was chosen")
        yield


@contextmanager
def prometheus_multiprocess_counter(calls: int = SLOW_CALLS) -> Iterator[Timing]:
    """prometheus_client, multiprocess mode: Counter.inc()"""
    with _multiprocess_mode():
        from prometheus_client import CollectorRegistry, Counter

        counter = Counter("orders", "Orders sent.", registry=CollectorRegistry())
        yield Timing("counter.inc(1.0)", {"counter": counter}, calls)


@contextmanager
def prometheus_multiprocess_histogram(calls: int = SLOW_CALLS) -> Iterator[Timing]:
    """prometheus_client, multiprocess mode: Histogram.observe()"""
    with _multiprocess_mode():
        from prometheus_client import CollectorRegistry, Histogram

        histogram = Histogram("latency_seconds", "Latency.", registry=CollectorRegistry())
        yield Timing("histogram.observe(0.0125)", {"histogram": histogram}, calls)


@contextmanager
def _meter() -> Iterator[Any]:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    # Without a reader the SDK drops what it is given.
    provider = MeterProvider(metric_readers=[InMemoryMetricReader()])
    yield provider.get_meter("benchmark")
    provider.shutdown()


@contextmanager
def opentelemetry_counter(calls: int = SLOW_CALLS) -> Iterator[Timing]:
    """OpenTelemetry SDK: Counter.add()"""
    with _meter() as meter:
        yield Timing("counter.add(1.0)", {"counter": meter.create_counter("orders")}, calls)


@contextmanager
def opentelemetry_attributes(calls: int = SLOW_CALLS) -> Iterator[Timing]:
    """OpenTelemetry SDK: Counter.add() with two attributes"""
    with _meter() as meter:
        names = {"counter": meter.create_counter("orders"), "attributes": {"symbol": "AAPL", "side": "buy"}}
        yield Timing("counter.add(1.0, attributes)", names, calls)


@contextmanager
def opentelemetry_histogram(calls: int = SLOW_CALLS) -> Iterator[Timing]:
    """OpenTelemetry SDK: Histogram.record()"""
    with _meter() as meter:
        yield Timing("histogram.record(0.0125)", {"histogram": meter.create_histogram("latency")}, calls)


def _pull(address: str) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.connect(address)
        while socket.recv():
            pass


@contextmanager
def zeromq(calls: int = SLOW_CALLS) -> Iterator[Timing]:
    """pyzmq: PUSH socket.send() of 24 bytes over ipc"""
    import zmq

    with (
        tempfile.TemporaryDirectory() as folder,
        zmq.Context() as context,
        context.socket(zmq.PUSH) as socket,
    ):
        socket.set_hwm(0)  # a full queue would time the receiver
        address = f"ipc://{folder}/socket"
        socket.bind(address)
        receiver = multiprocessing.get_context("spawn").Process(target=_pull, args=(address,))
        receiver.start()
        socket.send(bytes(24))
        yield Timing("send(record)", {"send": socket.send, "record": bytes(24)}, calls, before_round=_let_drain)
        socket.send(b"")
        receiver.join()


def _take(queue: Any) -> None:
    while queue.get() is not None:
        pass


@contextmanager
def multiprocessing_queue(calls: int = SLOW_CALLS) -> Iterator[Timing]:
    """multiprocessing.Queue.put() of a float"""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    receiver = context.Process(target=_take, args=(queue,))
    receiver.start()
    yield Timing("put(0.0125)", {"put": queue.put}, calls, before_round=_let_drain)
    queue.put(None)
    receiver.join()


def _let_drain() -> None:
    time.sleep(0.02)


class StructRing:
    """A single-producer ring as one would write it in plain Python: `struct` into shared memory."""

    HEADER = 128

    def __init__(self, memory: SharedMemory, capacity: int) -> None:
        assert memory.buf is not None
        self._buffer = memory.buf
        self._capacity = capacity
        self._mask = capacity - 1
        self._write = 0
        self._read = 0
        self._pack_record = struct.Struct("<QQd").pack_into
        self._position = struct.Struct("<Q")

    def emit(self, value: float) -> bool:
        """Write one record of 24 bytes with its time, then publish it."""
        write = self._write
        if write - self._read >= self._capacity:
            (self._read,) = self._position.unpack_from(self._buffer, 64)
            if write - self._read >= self._capacity:
                return False
        index = write & self._mask
        self._pack_record(self._buffer, self.HEADER + 24 * index, time.monotonic_ns(), 7, value)
        self._write = write + 1
        self._position.pack_into(self._buffer, 0, self._write)
        return True

    def drain(self) -> None:
        """Release everything, as a consumer would."""
        self._position.pack_into(self._buffer, 64, self._write)

    def detach(self) -> None:
        """Let go of the memory, so that it can be closed."""
        del self._buffer


@contextmanager
def struct_ring(calls: int = CALLS) -> Iterator[Timing]:
    """pure Python: struct.pack_into a ring in shared memory"""
    capacity = 1 << (calls - 1).bit_length()
    memory = SharedMemory(create=True, size=StructRing.HEADER + 24 * capacity)
    ring = StructRing(memory, capacity)
    try:
        yield Timing("ring.emit(0.0125)", {"ring": ring}, calls, before_round=ring.drain)
    finally:
        ring.detach()
        memory.close()
        memory.unlink()
