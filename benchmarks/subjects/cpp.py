"""The C++ face, compiled as a C++ program has it, and rigtorp's SPSCQueue beside it where its header is at hand:
SHMTEL_SPSCQUEUE names the folder of rigtorp/SPSCQueue.h.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.build import FOLDER, HERE, made
from shmtelemetry import Consumer, get_include
from shmtelemetry.cli.bench import CALLS, Timing, namespace

QUEUE = os.environ.get("SHMTEL_SPSCQUEUE")


def library() -> ctypes.CDLL:
    """face.cpp, compiled."""
    built = FOLDER / ("face-spsc.so" if QUEUE else "face.so")
    sources = [HERE / "face.cpp", *Path(get_include()).iterdir()]
    flags = ["-DSPSC", "-isystem", QUEUE] if QUEUE else []
    command = ["c++", "-std=c++17", "-O3", "-fPIC", "-shared", "-pthread", *flags, "-I", get_include()]
    made(built, sources, lambda: subprocess.run([*command, str(sources[0]), "-o", str(built)], check=True))
    face = ctypes.CDLL(str(built))
    for name in ("emit_counter", "emit_records", *(["push_queue"] if QUEUE else [])):
        function = getattr(face, name)
        function.argtypes, function.restype = [ctypes.c_uint64], ctypes.c_uint64
    return face


@contextmanager
def _emitting(producer: str, function: str, calls: int) -> Iterator[Timing]:
    face = library()
    error = face.open_face(namespace().encode(), ctypes.c_uint64(1 << (calls - 1).bit_length()))
    if error:
        raise RuntimeError(f"the C++ face cannot be opened: error {error}")
    with Consumer(producer, namespace=namespace()) as consumer:
        names = {"emit": getattr(face, function), "count": calls}
        yield Timing("emit(count)", names, 1, calls, consumer.read)
        if len(consumer.read()) != calls:
            raise RuntimeError("the ring was full, so another path was timed: take fewer calls a round")
    face.close_face()


@contextmanager
def counter(calls: int = CALLS) -> Iterator[Timing]:
    """C++: Counter::emit with its time"""
    with _emitting("counter", "emit_counter", calls) as timing:
        yield timing


@contextmanager
def records(calls: int = CALLS) -> Iterator[Timing]:
    """C++: Records::emit of 24 bytes with their time"""
    with _emitting("records", "emit_records", calls) as timing:
        yield timing


@contextmanager
def spsc_queue(calls: int = CALLS) -> Iterator[Timing]:
    """C++: rigtorp::SPSCQueue::try_push of 24 bytes with their time, between threads of one process"""
    face = library()
    face.open_queue(ctypes.c_uint64(1 << (calls - 1).bit_length()))
    yield Timing("push(count)", {"push": face.push_queue, "count": calls}, 1, calls, face.drain_queue)
