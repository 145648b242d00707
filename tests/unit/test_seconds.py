"""The file of seconds: where its blocks lie, how large it gets, and what a damaged or foreign one leads to."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmtelemetry import Reader, Telemetry
from shmtelemetry.aggregate import _seconds, recorder, seconds
from shmtelemetry.aggregate.recorder import Recorder
from shmtelemetry.aggregate.seconds import ENTRY, HEADER, KEPT, LIMIT, PAGE, ROW, Recent, recent
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.exporters.prometheus import expose
from tests.reading import windows_of


@contextmanager
def recorded(namespace: str, limit: int = LIMIT) -> Iterator[tuple[Reader, Telemetry, Recorder]]:
    """A reader whose seconds are taken when the test says so."""
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=2**14) as telemetry:
        role = reader._role
        assert role is not None
        assert role._recorder is not None
        role._recorder._limit = limit
        taken, role._recorder = role._recorder, None
        try:
            yield reader, telemetry, taken
        finally:
            role._recorder = taken


def looked_at(namespace: str) -> Recent:
    stored = windows_of(namespace).read_bytes()
    return recent(windows_of(namespace), bytes(np.frombuffer(stored[: HEADER.itemsize], HEADER)[0]["state"]))


def test_the_rows_are_the_same_in_c_and_in_python() -> None:
    assert _seconds.row_size() == ROW.itemsize
    assert HEADER.itemsize <= PAGE


@given(lengths=st.lists(st.integers(0, 60_000).map(lambda length: length // 8 * 8), max_size=200))
def test_no_block_lies_over_another_and_none_beyond_the_limit(lengths: list[int]) -> None:
    """The newest are kept, as many as there is room for."""
    limit = 256 * 1024
    writer = object.__new__(Recorder)
    writer._blocks, writer._size, writer._limit = [], recorder.SMALLEST, limit
    fd = os.memfd_create("blocks")
    try:
        for length in lengths:
            if len(writer._blocks) == KEPT:
                writer._blocks.pop(0)
            offset = writer._place(fd, length)
            assert offset is not None
            assert offset % 8 == 0
            writer._blocks.append((offset, length))
            places = sorted(block for block in writer._blocks if block[1])
            assert all(begin + used <= after for (begin, used), (after, _) in pairwise(places))
            assert all(begin >= PAGE and begin + used <= writer._size <= limit for begin, used in places)
        assert [used for _, used in writer._blocks] == lengths[len(lengths) - len(writer._blocks) :]
        if lengths and len(writer._blocks) < min(KEPT, len(lengths)):
            assert sum(used for _, used in writer._blocks) > (limit - PAGE) // 4
    finally:
        os.close(fd)


def test_the_file_is_small_grows_on_demand_and_stays_within_its_bound(namespace: str) -> None:
    limit = 256 * 1024
    with recorded(namespace, limit) as (reader, telemetry, taken):
        handles = [telemetry.histogram("h", labels=("k",)).labels(key) for key in range(50)]
        assert windows_of(namespace).stat().st_size == recorder.SMALLEST
        for turn in range(2 * KEPT):
            for handle in handles:
                for step in range(20):
                    assert handle.observe(1.001 ** (turn + step * 40))
            reader.poll()
            taken.take([])
            assert windows_of(namespace).stat().st_size <= limit
        assert windows_of(namespace).stat().st_size == limit
        found = looked_at(namespace)
        per_second = 50 * (ROW.itemsize + 6 * 20)
        assert len(found.seconds) == pytest.approx((limit - PAGE) / per_second, abs=2)
        window = reader.snapshot().window(60)
        assert window.histogram("h", k="7").count == 20 * len(found.seconds)
        assert window.seconds == (found.seconds[0].ended_ns - found.seconds[-1].began_ns) / 1e9
        assert window.rate("h", k="7") == pytest.approx(20 * len(found.seconds) / window.seconds)


def test_a_second_larger_than_the_file_may_be_is_a_gap(namespace: str) -> None:
    with recorded(namespace, recorder.SMALLEST) as (reader, telemetry, taken):
        counter, family = telemetry.counter("c"), telemetry.histogram("h", labels=("k",))
        counter.inc(1)
        reader.poll()
        taken.take([])
        for key in range(4000):
            family.labels(key).observe(1.0)
        reader.poll()
        taken.take([])
        assert looked_at(namespace).seconds == ()
        counter.inc(2)
        reader.poll()
        taken.take([])
        window = reader.snapshot().window(60)
        assert window.rate("c_total") * window.seconds == pytest.approx(2)


def test_a_minute_is_kept_and_no_more(namespace: str) -> None:
    with recorded(namespace) as (reader, telemetry, taken):
        for turn in range(KEPT + 10):
            telemetry.counter("c").inc(turn)
            reader.poll()
            taken.take([])
        found = looked_at(namespace)
        amounts = [float(one.rows["amount"][-1]) for one in found.seconds]
        assert amounts == list(range(KEPT + 9, 9, -1))


def test_losses_of_records_are_kept_beside_the_rows(namespace: str) -> None:
    with recorded(namespace) as (reader, telemetry, taken):
        taken.take([(3, 5, 7)])
        telemetry.counter("c").inc(2)
        reader.poll()
        taken.take([(1, 2, 3), (4, 0, 9)])
        newest, older = looked_at(namespace).seconds
        assert newest.losses.tolist() == [(1, 2, 3), (4, 0, 9)]
        assert older.losses.tolist() == [(3, 5, 7)]
        assert float(newest.rows["amount"][-1]) == 2


def test_a_reader_goes_on_without_its_file(namespace: str) -> None:
    with recorded(namespace) as (reader, telemetry, taken):
        telemetry.counter("c").inc()
        reader.poll()
        windows_of(namespace).unlink()
        taken.take([])
        assert reader.snapshot().window(60).seconds == 0
        windows_of(namespace).write_bytes(b"somebody else's")
        taken.take([])
        assert windows_of(namespace).read_bytes() == b"somebody else's"
        windows_of(namespace).unlink()


def test_a_file_that_cannot_be_made_costs_the_windows_alone(
    namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    windows_of(namespace).mkdir()
    try:
        with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
            telemetry.counter("c").inc()
            reader.poll()
            assert reader.snapshot().value("c_total") == 1
            assert reader.snapshot().window(10).seconds == 0
            assert reader._role is not None
            assert reader._role._recorder is not None
            reader._role._recorder.take([])
            assert reader._role._recorder.due > 0.5  # the keeper does not try again and again
    finally:
        windows_of(namespace).rmdir()
    assert "there are no windows" in caplog.text


# ---- what others find ----


def written(namespace: str) -> tuple[Path, bytes, bytes]:
    """A file with several seconds, its bytes, and the state's uuid; the reader is gone."""
    with recorded(namespace) as (reader, telemetry, taken):
        for turn in range(5):
            telemetry.counter("c").inc(turn + 1)
            for value in (1.0, 2.0, 300.0):
                telemetry.histogram("h", labels=("k",)).labels(turn % 2).observe(value * (turn + 1))
            reader.poll()
            taken.take([(0, 1, 2)])
        stored = windows_of(namespace).read_bytes()
    return windows_of(namespace), stored, bytes(np.frombuffer(stored[: HEADER.itemsize], HEADER)[0]["state"])


def statistics(namespace: str, found: Recent) -> tuple[Snapshot, bytes]:
    """All that can be made of what a look found."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("shmtelemetry.aggregate.view.recent", lambda *_: found)
        with Reader(namespace, ephemeral=True) as reader, Telemetry("q", namespace) as telemetry:
            telemetry.counter("c").inc()
            for key in range(2):
                telemetry.histogram("h", labels=("k",)).labels(key).observe(1.0)
            reader.poll()
            snapshot = reader.snapshot()
            for length in (1, 10, 60):
                window = snapshot.window(length)
                window.rate("c_total")
                for key in ("0", "1"):
                    histogram = window.histogram("h", k=key)
                    assert [histogram.quantile(q) for q in (0, 0.5, 1)]
                    window.coverage("h", k=key)
            return snapshot, expose(snapshot)


def test_what_was_written_is_found(namespace: str) -> None:
    path, stored, state = written(namespace)
    path.write_bytes(stored)
    try:
        found = recent(path, state)
    finally:
        path.unlink()
    assert len(found.seconds) == 5
    assert found.running
    _, text = statistics(namespace, found)
    assert b'h_window_max{k="0",window="60s"} 1500.0' in text


@pytest.mark.parametrize("size", [0, 1, HEADER.itemsize - 1, HEADER.itemsize, PAGE, PAGE + 24])
def test_a_file_that_is_cut_short_is_as_none(namespace: str, size: int) -> None:
    path, stored, state = written(namespace)
    path.write_bytes(stored[:size])
    try:
        assert recent(path, state).seconds == ()
    finally:
        path.unlink()


def test_what_is_no_file_of_this_state_is_as_none(namespace: str) -> None:
    path, stored, state = written(namespace)
    assert recent(path, state).seconds == ()
    for content in (stored.replace(state, bytes(16)), b"x" * 2**17, bytes(2**17)):
        path.write_bytes(content)
        assert recent(path, state).seconds == ()
        path.unlink()
    os.mkfifo(path)
    assert recent(path, state).seconds == ()
    path.unlink()
    path.symlink_to("/dev/zero")
    assert recent(path, state).seconds == ()
    path.unlink()


def test_a_header_of_a_size_that_nobody_has_memory_for_is_refused(namespace: str) -> None:
    path, stored, state = written(namespace)
    for field, value in (("offset", 2**63), ("offset", 2**64 - 8), ("buckets", 2**60), ("rows", 2**32 - 1)):
        header = np.frombuffer(stored[: HEADER.itemsize], HEADER).copy()
        header[0]["seconds"][-1][field] = value
        path.write_bytes(header.tobytes() + stored[HEADER.itemsize :])
        os.truncate(path, 2**50)
        assert recent(path, state).seconds == ()
        path.unlink()


def test_rows_that_are_out_of_order_or_point_elsewhere_are_refused(namespace: str) -> None:
    path, stored, state = written(namespace)
    newest = np.frombuffer(stored[: HEADER.itemsize], HEADER)[0]["seconds"][-1]
    begin, end = int(newest["offset"]), int(newest["offset"]) + int(newest["rows"]) * ROW.itemsize
    assert newest["rows"] >= 2
    for field, value in (("end", 2**31), ("end", 2**32 - 1), ("series", 2**32 - 1)):
        rows = np.frombuffer(stored[begin:end], ROW).copy()
        rows[0][field] = value
        path.write_bytes(stored[:begin] + rows.tobytes() + stored[end:])
        assert recent(path, state).seconds == ()
        path.unlink()


def test_a_reader_that_was_killed_while_it_took_a_second_leaves_the_others(namespace: str) -> None:
    path, stored, state = written(namespace)
    header = np.frombuffer(stored[: HEADER.itemsize], HEADER).copy()
    header["mark"] += 1
    path.write_bytes(header.tobytes() + stored[HEADER.itemsize :])
    begin = time.monotonic()
    try:
        assert len(recent(path, state).seconds) == 5
    finally:
        path.unlink()
    assert time.monotonic() - begin >= seconds.PATIENCE


def test_who_looks_waits_for_a_second_that_is_being_taken(namespace: str) -> None:
    """Its maxima are no longer in the series, and not yet in the table."""
    path, stored, state = written(namespace)
    before = np.frombuffer(stored[: HEADER.itemsize], HEADER).copy()
    before[0]["seconds"][-1] = np.zeros((), ENTRY)
    before["mark"] += 1
    path.write_bytes(before.tobytes() + stored[HEADER.itemsize :])
    fd = os.open(path, os.O_RDWR)
    done = threading.Timer(0.05, lambda: os.pwrite(fd, stored, 0))
    done.start()
    try:
        assert len(recent(path, state).seconds) == 5
    finally:
        done.join()
        os.close(fd)
        path.unlink()


def test_a_gap_ends_the_windows(namespace: str) -> None:
    path, stored, state = written(namespace)
    header = np.frombuffer(stored[: HEADER.itemsize], HEADER).copy()
    header[0]["seconds"][-3] = np.zeros((), ENTRY)
    path.write_bytes(header.tobytes() + stored[HEADER.itemsize :])
    try:
        assert len(recent(path, state).seconds) == 2
    finally:
        path.unlink()


@given(changes=st.lists(st.tuples(st.integers(0, PAGE + 2000), st.integers(0, 255)), min_size=1, max_size=30))
def test_whatever_the_file_says_nobody_comes_to_harm(changes: list[tuple[int, int]]) -> None:
    namespace = "test-hostile-seconds"
    path, stored, state = written(namespace)
    damaged = bytearray(stored)
    for at, value in changes:
        if not 8 <= at < 32 and not HEADER.itemsize <= at < PAGE:  # what it is says the rest of the header
            damaged[at] = value
    path.write_bytes(bytes(damaged))
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(seconds, "PATIENCE", 0.01)
            found = recent(path, state)
        statistics(namespace, found)
    finally:
        path.unlink(missing_ok=True)
