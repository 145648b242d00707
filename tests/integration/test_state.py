"""The state outlives its reader, grows, and is refused where it cannot be used."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Producer, Reader, Schema, Telemetry, field, read_state
from shmtelemetry.aggregate import series
from shmtelemetry.aggregate.series import HEADER, field_offset
from shmtelemetry.errors import StateError
from tests.processes import in_child, kill, wait_until
from tests.reading import SHM, control_of, read_position, running_reader, state_of, talker, the_segment, windows_of

SOME = 8.0


@contextmanager
def stored(namespace: str) -> Iterator[Path]:
    """A state with a counter, a gauge of parts, histograms of many octaves, and an ended producer."""
    with Reader(namespace) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.counter("c", labels=("a",)).labels("b").inc(SOME)
        telemetry.gauge("g", merge="sum").set(1)
        for exponent in range(-300, 300, 7):
            telemetry.histogram("h").observe(2.0**exponent)
        reader.poll()
    path = state_of(namespace)
    try:
        yield path
    finally:
        path.unlink()


def assert_refused(namespace: str, path: Path, why: str) -> None:
    """By a reader, which lets go of the namespace then; the file is left as it was."""
    before = path.read_bytes()
    with pytest.raises(StateError, match=why) as refused:
        Reader(namespace)
    assert namespace in str(refused.value)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before
    assert not control_of(namespace).exists()


def test_there_is_no_state_without_a_reader(namespace: str) -> None:
    with pytest.raises(StateError, match="shmtel reader --namespace"):
        read_state(namespace)


def test_totals_and_definitions_go_on_from_reader_to_reader(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c", "Help.", labels=("a",))
        histogram = telemetry.histogram("h", buckets=(1.0, 2.0))
        for run in range(1, 4):
            counter.labels("x").inc()
            histogram.observe(1.5)
            with Reader(namespace, ephemeral=run == 3) as reader:
                reader.poll()
                for snapshot in (reader.snapshot(), read_state(namespace)):
                    assert snapshot.value("c_total", a="x") == run
                    assert snapshot.families["c_total"].metric.help == "Help."
                    assert [count for _, count in snapshot.histogram("h").buckets] == [0, run, run]


def test_an_ephemeral_reader_takes_its_state_with_it(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc()
        for _ in range(2):
            telemetry.counter("c").inc()
            with Reader(namespace, ephemeral=True):
                assert state_of(namespace).exists()
            assert not state_of(namespace).exists()
            with pytest.raises(StateError):
                read_state(namespace)


def test_anybody_of_the_same_user_can_look_at_a_running_readers_state(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc(SOME)
        reader.poll()
        assert in_child(lambda: read_state(namespace).value("c_total")) == SOME
        assert state_of(namespace).stat().st_mode & 0o777 == 0o600


def test_looking_changes_nothing_and_leaves_nothing_open(namespace: str) -> None:
    with stored(namespace) as path:
        before, descriptors = path.read_bytes(), len(os.listdir("/proc/self/fd"))
        mappings = len(Path("/proc/self/maps").read_text().splitlines())
        for _ in range(5):
            assert read_state(namespace).value("c_total", a="b") == SOME
        assert path.read_bytes() == before
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert len(Path("/proc/self/maps").read_text().splitlines()) <= mappings + 8


def test_the_state_grows_and_everything_stays(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace) as reader:
        family = telemetry.histogram("h", labels=("n",))
        reader.poll()
        begin = state_of(namespace).stat().st_size
        for number in range(1500):
            family.labels(number).observe(number)
            if number % 100 == 0:
                reader.poll()
        reader.poll()
        assert state_of(namespace).stat().st_size >= begin + 2**20
        for snapshot in (reader.snapshot(), read_state(namespace)):
            assert [snapshot.histogram("h", n=str(n)).sum for n in range(1500)] == list(range(1500))
    with Reader(namespace, ephemeral=True) as reader:
        snapshot = reader.snapshot()
        assert [snapshot.histogram("h", n=str(n)).sum for n in range(1500)] == list(range(1500))


def test_a_copy_that_turns_out_too_small_is_made_again(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with stored(namespace), Reader(namespace) as reader:
        rooms = [np.empty(series.HEADER_SIZE, np.uint8)]
        enough = reader._role._view._room
        monkeypatch.setattr(reader._role._view, "_room", lambda wanted: rooms.pop() if rooms else enough(wanted))
        assert reader.snapshot().value("c_total", a="b") == SOME
        assert rooms == []


@pytest.mark.parametrize(
    "size", [0, 1, HEADER.itemsize - 1, HEADER.itemsize, series.HEADER_SIZE, 2 * 4096 + 512 * 1024]
)
def test_a_state_that_is_cut_short_is_refused(namespace: str, size: int) -> None:
    with stored(namespace) as path:
        os.truncate(path, min(size, path.stat().st_size - 4096))
        assert_refused(namespace, path, "too short|cut short")
        with pytest.raises(StateError, match=r"too short|cut short"):
            read_state(namespace)


@pytest.mark.parametrize("content", [b"x" * 2**20, b"\x7fELF" + bytes(2**20), bytes(2**20)])
def test_a_file_that_is_no_state_is_refused(namespace: str, content: bytes) -> None:
    state_of(namespace).write_bytes(content)
    assert_refused(namespace, state_of(namespace), "not a state")
    with pytest.raises(StateError, match="not a state"):
        read_state(namespace)
    state_of(namespace).unlink()


def test_a_state_of_another_version_is_refused(namespace: str) -> None:
    with stored(namespace) as path:
        change(path, field_offset(HEADER, "version"), 4, series.VERSION - 1)
        assert_refused(namespace, path, f"version {series.VERSION - 1}, expected {series.VERSION}.*--reset-state")


def test_a_state_that_is_a_link_is_not_followed(namespace: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    state_of(namespace).symlink_to(target)
    for look in (lambda: Reader(namespace), lambda: read_state(namespace)):
        with pytest.raises((StateError, OSError)):
            look()
    assert not target.exists()
    assert not control_of(namespace).exists()
    state_of(namespace).unlink()


POINTERS = {
    "a table": (series.SERIES_TABLE.table_offset, 8),
    "a table of metrics": (series.METRICS.table_offset, 8),
    "a table of slots": (series.SLOTS.table_offset, 8),
    "a table of names": (series.NAMES.table_offset, 8),
}


@pytest.mark.parametrize("what", POINTERS)
@pytest.mark.parametrize("value", [0, 8, 4096, 2**20, 2**40, 2**63, 2**64 - 64])
def test_tables_that_are_not_where_they_can_be_are_refused(namespace: str, what: str, value: int) -> None:
    with stored(namespace) as path:
        offset, width = POINTERS[what]
        change(path, offset, width, value)
        assert_refused(namespace, path, "damaged")


@pytest.mark.parametrize("field", ["metrics", "series", "slots", "names"])
@pytest.mark.parametrize("value", [2**20, 2**32, 2**63, 2**64 - 1])
def test_counts_that_cannot_be_are_refused(namespace: str, field: str, value: int) -> None:
    with stored(namespace) as path:
        change(path, field_offset(HEADER, field), 8, value)
        assert_refused(namespace, path, "damaged")
        with pytest.raises(StateError):
            read_state(namespace)


SERIES_FIELDS = ("directory", "classic", "metric", "kind", "definition")


@pytest.mark.parametrize("field", SERIES_FIELDS)
@pytest.mark.parametrize("value", [7, 2**31, 2**32 - 1])
def test_series_that_point_to_where_nothing_is_are_refused(namespace: str, field: str, value: int) -> None:
    with stored(namespace) as path:
        begin = int.from_bytes(path.read_bytes()[series.SERIES_TABLE.table_offset :][:8], "little")
        histogram = begin + 3 * series.SERIES.itemsize  # after the reader's own, the counter and the gauge
        assert np.frombuffer(path.read_bytes()[histogram:], series.SERIES, 1)["kind"] == series.KINDS["histogram"]
        if field == "directory":
            value |= 1 << 48
        change(path, histogram + field_offset(series.SERIES, field), 4 if field in ("metric", "kind") else 8, value)
        assert_refused(namespace, path, "damaged|beyond its end")
        with suppress(StateError):  # who only looks may have no use for it
            read_state(namespace)


@pytest.mark.slow
@pytest.mark.parametrize("field", HEADER.names)
def test_a_bit_that_flips_in_the_header_is_refused_or_harmless(namespace: str, field: str) -> None:
    with stored(namespace) as path:
        good = path.read_bytes()
        kind, offset = HEADER.fields[field][:2]
        for bit in range(0, 8 * kind.itemsize, 3):
            path.write_bytes(good)
            change(path, offset + bit // 8, 1, good[offset + bit // 8] ^ 1 << bit % 8)
            assert in_child(lambda: outcome(namespace)) in ("refused", "used")


def outcome(namespace: str) -> str:
    """What comes of opening the state, and of writing it further."""
    try:
        with Reader(namespace) as reader, Telemetry("q", namespace, capacity=64) as telemetry:
            telemetry.counter("c", labels=("a",)).labels("b").inc()
            telemetry.counter("new").inc()
            telemetry.histogram("h").observe(1e300)
            reader.poll()
            for name, family in reader.snapshot().families.items():
                for labels in family.labels if family.counts is not None else ():
                    reader.snapshot().histogram(name, **dict(zip(family.label_names, labels, strict=True)))
        return "used"
    except StateError:
        return "refused"


def change(path: Path, offset: int, width: int, value: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write((value % 2 ** (8 * width)).to_bytes(width, "little"))


@pytest.mark.slow
def test_a_killed_readers_state_can_be_looked_at_whatever_it_was_doing(namespace: str) -> None:
    def emit(asked: object) -> None:
        with Telemetry("p", namespace, capacity=8192) as telemetry:
            observe = telemetry.histogram("h", buckets=(1.0,)).observe
            while not asked():  # type: ignore[operator]
                for _ in range(500):
                    observe(2.0)

    with talker(emit) as producer:
        segment = the_segment(namespace)
        for run in range(30):
            with running_reader(namespace) as pid:
                goal = read_position(segment) + 20_000
                wait_until(lambda: read_position(segment) > goal, "the reader is at work")  # noqa: B023
                os.kill(pid, signal.SIGKILL if run % 2 else signal.SIGSTOP)
                if run % 2:
                    os.waitpid(pid, 0)
                histogram = read_state(namespace).histogram("h")
                assert histogram.sum == 2.0 * histogram.count == 2.0 * int(histogram.exponential.sum())
                assert histogram.count >= goal - 1
                kill(pid)
        segment.close()
        with Reader(namespace, ephemeral=True) as last:
            last.start()
            producer.finish()
            assert last.settle()


def test_a_state_that_cannot_grow_costs_new_series_and_nothing_else(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        family, counter = telemetry.histogram("h", labels=("n",)), telemetry.counter("c")
        counter.inc()
        reader.poll()

        def no_room(*_: object) -> None:
            raise OSError(28, "No space left on device")

        for number in range(4000):
            family.labels(number).observe(1.0)
        counter.inc()
        with monkeypatch.context() as patched:
            patched.setattr(os, "posix_fallocate", no_room)
            reader.poll()
            assert reader.snapshot().value("shmtel_series_overflow_total") > 0
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("c_total") == 2
        observed = sum(snapshot.histogram("h", n=n).count for (n,) in snapshot.families["h"].labels)
        invalid = snapshot.value("shmtel_invalid_records_total", producer="p")
        assert observed + invalid == 4000
        assert snapshot.producers["p"].holds


def test_totals_without_memory_for_their_last_values_are_not_counted_at_all(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = {"who": field("label"), "x": field("total", name="m"), "y": field("counter", name="n")}
    schema = Schema([("who", "<u4"), ("x", "<u8"), ("y", "<u8")], roles)

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Reader(namespace, ephemeral=True) as reader, Producer("p", schema, namespace, capacity=16384) as ring:
        reader.poll()
        for _ in range(2):
            for who in range(4000):
                assert ring.emit_fields(who, 10, 1)
        with monkeypatch.context() as patched:
            patched.setattr(os, "posix_fallocate", no_room)
            reader.poll()
        snapshot = reader.snapshot()
        assert set(snapshot.families["m_total"].values.tolist()) <= {0.0, 10.0}
        assert snapshot.producers["p"].consumed == 8000
        assert snapshot.producers["p"].invalid > 0


@pytest.mark.parametrize("replaced", [False, True])
def test_a_reader_whose_state_somebody_removed_goes_on_with_what_it_has(namespace: str, replaced: bool) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        family, counter = telemetry.counter("many", labels=("n",)), telemetry.counter("c")
        counter.inc()
        reader.poll()
        state_of(namespace).unlink()
        if replaced:
            state_of(namespace).write_bytes(b"something else")
        for number in range(5000):
            family.labels(number).inc()
        counter.inc()
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("c_total") == 2
        assert snapshot.value("shmtel_series_overflow_total") > 0
        assert snapshot.producers["p"].holds
        if replaced:
            assert state_of(namespace).read_bytes() == b"something else"


def test_the_files_of_a_namespace_lie_where_everybody_looks(namespace: str) -> None:
    with Reader(namespace, ephemeral=True):
        assert {path.name for path in SHM.glob(f"shmtel.{namespace}.*")} == {
            state_of(namespace).name,
            control_of(namespace).name,
            windows_of(namespace).name,
        }
