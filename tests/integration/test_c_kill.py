"""kill -9 of a producer in C at any moment: it leaves what one in Python leaves."""

from __future__ import annotations

import mmap
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Consumer, Reader
from shmtelemetry.accounting import segment_stats
from shmtelemetry.segment import attach, segment_names
from tests.native import HERE, compiled
from tests.processes import wait_until

TALLY = np.dtype([(name, "<u8") for name in ("counted", "observed", "dropped", "records", "refused")])
MIX = (np.arange(64, dtype="u8") * np.uint64(0x9E3779B97F4A7C15)).reshape(1, 64)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(HERE / "steady.c", tmp_path_factory.mktemp("steady"), "-O2")


@contextmanager
def producer(program: Path, namespace: str, file: Path) -> Iterator[np.ndarray]:
    """What it has told so far, while it runs; it is killed at the end."""
    file.write_bytes(bytes(TALLY.itemsize))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as shared:
        told = np.frombuffer(shared, TALLY).copy()
        process = subprocess.Popen([program, namespace, str(file)])
        try:
            wait_until(lambda: np.frombuffer(bytes(shared), TALLY)["records"][0], "it emits")
            yield told
        finally:
            process.kill()
            process.wait()
            told[:] = np.frombuffer(bytes(shared), TALLY)


def whole(records: np.ndarray, begin: int) -> bool:
    numbers = np.arange(begin, begin + len(records), dtype="u8").reshape(-1, 1)
    return records.tobytes() == (numbers ^ MIX).tobytes()


def kill_once(program: Path, namespace: str, file: Path, chance: random.Random) -> None:
    taken = 0
    with Reader(namespace, ephemeral=True) as reader, Consumer("records", f"{namespace}-records") as consumer:
        with producer(program, namespace, file) as told:
            for _ in range(chance.randrange(1, 60)):
                reader.poll()
                records = consumer.read(chance.randrange(1, 2000))
                assert whole(records, taken)
                taken += len(records)
            for _ in range(chance.randrange(100_000)):
                pass
        names = [*segment_names(namespace), *segment_names(f"{namespace}-records")]
        assert len(names) == 2
        for name in names:
            segment = attach(name)
            assert 0 <= segment_stats(segment).aborted <= 1
            assert segment_stats(segment).holds
            segment.close()
        records = consumer.read()
        assert whole(records, taken)
        reader.poll()
        reader.poll()
        snapshot = reader.snapshot()
        # What was under way when it was killed may have come to be, and was not told.
        assert 0 <= taken + len(records) - told["records"][0] <= 1
        assert 0 <= snapshot.value("c_total") - told["counted"][0] <= 1
        assert 0 <= snapshot.value("c_total") - snapshot.value("g") <= 1
        assert 0 <= snapshot.histogram("h").count - told["observed"][0] <= 1
        assert 0 <= snapshot.producers["instruments"].dropped["full"] - told["dropped"][0] <= 1
        assert snapshot.producers["instruments"].holds
    assert list(segment_names(namespace)) == []


@pytest.mark.slow
def test_a_killed_c_producer_leaves_what_it_told_whole_and_at_most_one_record_more(
    namespace: str, program: Path, tmp_path: Path
) -> None:
    chance = random.Random(11)
    for _ in range(20):
        kill_once(program, namespace, tmp_path / "tally", chance)


@pytest.mark.stress
def test_of_five_hundred_killed_c_producers_none_leaves_anything_else(
    namespace: str, program: Path, tmp_path: Path
) -> None:
    chance = random.Random()
    for _ in range(500):
        kill_once(program, namespace, tmp_path / "tally", chance)


@pytest.mark.slow
def test_children_that_are_forked_while_a_thread_opens_segments_keep_none_of_them_alive(
    namespace: str, tmp_path: Path
) -> None:
    pipe = subprocess.PIPE
    forks = compiled(HERE / "forks.c", tmp_path, "-O2")
    with subprocess.Popen([forks, namespace], stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        parent.wait()
        segments = [attach(name) for name in segment_names(namespace)]
        alive = [segment.alive() for segment in segments]
        for segment in segments:
            segment.unlink()
            segment.close()
        parent.stdin.close()
        assert parent.stdout.read() == ""  # when the last child has ended
    assert (len(alive), sum(alive)) == (300, 0)
