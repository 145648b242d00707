"""How threads scale on a CPython without the GIL: two that emit at once against one.

Each thread has a handle object of its own. A round is short enough for the rings, which are emptied between rounds; the
reader stands still meanwhile. Of the rounds the fastest counts.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from shmtelemetry import Reader, Telemetry
from shmtelemetry.cli.bench import namespace

LEAST = 1.7
ROUNDS = 400
CALLS = 8000
"""Records of a round: fewer than the rings of further threads hold."""


def emitting(telemetry: Telemetry, number: int) -> Callable[[], None]:
    """A function of its own for each thread, with a handle of its own."""
    names: dict[str, object] = {"handle": telemetry.histogram(f"bench_{number}_seconds"), "calls": range(CALLS)}
    source = "def emit():\n    local = handle\n    for _ in calls:\n        local.emit(0.0125)\n"
    exec(source, names)
    emit = names["emit"]
    assert callable(emit)
    return emit


class Emitting(threading.Thread):
    """A thread that emits a round whenever it is told, and says how long all that were told took together."""

    def __init__(self, emit: Callable[[], None], begin: threading.Barrier, end: threading.Barrier) -> None:
        super().__init__()
        self._emit, self._begin, self._end = emit, begin, end
        self.done = False
        self.began = self.ended = 0

    def run(self) -> None:
        while self._begin.wait() >= 0 and not self.done:
            spin_until = time.perf_counter_ns() + 50_000  # all of them are awake by then
            while (now := time.perf_counter_ns()) < spin_until:
                pass
            self.began = now
            self._emit()
            self.ended = time.perf_counter_ns()
            self._end.wait()


def fastest(count: int) -> float:
    """Nanoseconds for each record of `count` threads, from the first one's begin to the last one's end."""
    with Reader(namespace(), ephemeral=True) as reader, Telemetry("bench", namespace()) as telemetry:
        begin, end = threading.Barrier(count + 1), threading.Barrier(count + 1)
        threads = [Emitting(emitting(telemetry, number), begin, end) for number in range(count)]
        for thread in threads:
            thread.start()
        best = float("inf")
        for _ in range(ROUNDS):
            begin.wait()
            end.wait()
            best = min(best, max(thread.ended for thread in threads) - min(thread.began for thread in threads))
            reader.poll()
        for thread in threads:
            thread.done = True
        begin.wait()
        for thread in threads:
            thread.join()
        stats = telemetry.stats()
        if stats.attempted != ROUNDS * CALLS * count or sum(stats.dropped.values()):
            raise RuntimeError(f"a ring was full, so another path was timed: {stats}")
        return best / (CALLS * count)


def main() -> int:
    """Print how two threads scale; returns 1 if the promise is missed."""
    for attempt in range(1, 4):
        one, two = fastest(1), fastest(2)
        scaling = one / two
        print(f"one thread {one:.1f} ns a record, two at once {two:.1f}: {scaling:.2f} times (>= {LEAST})", flush=True)
        if scaling >= LEAST:
            return 0
        print(f"missed at attempt {attempt} of 3")
    return 1


if __name__ == "__main__":
    sys.exit(main())
