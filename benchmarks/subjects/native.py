"""Compiled code: the floor below each figure, and the C face of the ring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.build import baseline
from shmtelemetry.cli.bench import BATCH, CALLS, RECORD, Timing, namespace

TSC = 1
"""SHMTEL_CLOCK_TSC of shmtelemetry.h."""


@contextmanager
def empty_float(calls: int = CALLS) -> Iterator[Timing]:
    """a Cython method that takes a float and does nothing"""
    yield Timing("handle.emit(0.0125)", {"handle": baseline().Empty()}, calls)


@contextmanager
def timed_float(calls: int = CALLS) -> Iterator[Timing]:
    """a Cython method that takes a float and reads the clock"""
    yield Timing("handle.emit_time(0.0125)", {"handle": baseline().Empty()}, calls)


@contextmanager
def empty_object(calls: int = CALLS) -> Iterator[Timing]:
    """a Cython method that takes an object and does nothing"""
    import numpy as np

    record = np.zeros(1, np.dtype(RECORD))[0]
    yield Timing("handle.emit_object(record)", {"handle": baseline().Empty(), "record": record}, calls)


@contextmanager
def rdtsc(calls: int = CALLS) -> Iterator[Timing]:
    """C: rdtsc"""
    names = {"read_clock": baseline().read_clock, "clock": TSC, "count": calls}
    yield Timing("read_clock(clock, count)", names, 1, calls)


@contextmanager
def c_push(calls: int = CALLS) -> Iterator[Timing]:
    """C: push of a 24-byte record with its time"""
    import numpy as np

    from shmtelemetry import Consumer, Producer

    capacity = 1 << (calls - 1).bit_length()
    with (
        Producer("bench", np.dtype(RECORD), namespace=namespace(), capacity=capacity) as producer,
        Consumer("bench", namespace=namespace()) as consumer,
    ):
        names = {"push": baseline().push, "producer": producer, "count": calls}
        yield Timing("push(producer, count)", names, 1, calls, consumer.read)
        if len(consumer.read()) != calls:
            raise RuntimeError("the ring was full, so another path was timed: take fewer calls a round")


@contextmanager
def memcpy(calls: int = 16) -> Iterator[Timing]:
    """C: memcpy of the bytes of emit_many, each 24 bytes"""
    import numpy as np

    source = np.ones(BATCH * 24, np.uint8)
    target = np.ones(calls * source.size, np.uint8)  # as large as the ring of emit_many
    names = {"copy_around": baseline().copy_around, "target": target, "source": source, "count": calls}
    yield Timing("copy_around(target, source, count)", names, 1, calls * BATCH)
