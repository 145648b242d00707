"""What lies under a segment's name, or under one of the reader's own files: refused in one line, never waited for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shmtelemetry import Consumer, Producer, Reader, Telemetry, read_state
from shmtelemetry.aggregate.seconds import windows_path
from shmtelemetry.errors import SegmentError, ShmtelError
from shmtelemetry.segment import attach
from tests.forging import Forgery
from tests.processes import in_child, run_python
from tests.reading import SHM, control_of, state_of

NOBODY = 65534
OUTSIDE = ["../x", "/etc/passwd", "a/b", "a\0b", "a\n", "a.b", "@reader", "", "ä", "a" * 65, ".", ".."]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def as_nobody(function: Callable[[], object]) -> object:
    def dropped() -> object:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return function()

    return in_child(dropped)


def leave_segment(namespace: str, mode: int = 0o600) -> str:
    """A segment of this process's user, with one step of a counter."""
    telemetry = Telemetry("theirs", namespace, capacity=16)
    telemetry.counter("theirs").inc()
    name = telemetry._producer.segment.name
    os.chmod(SHM / name, mode)
    return name


def quarantined(reader: Reader) -> float:
    reader.poll()
    snapshot = reader.snapshot()
    count = snapshot.value("shmtel_quarantined_segments")
    assert snapshot.value("shmtel_producers", state="quarantined") == count
    return count


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_from_outside_is_refused_before_anything_is_opened(name: str) -> None:
    for make in (lambda: Reader(name), lambda: Consumer(name), lambda: Consumer("a", name), lambda: read_state(name),
                 lambda: Producer(name, [("x", "u8")]), lambda: Telemetry("a", name)):  # fmt: skip
        with pytest.raises(ValueError, match="expected 1 to 64 of"):
            make()
    with pytest.raises(ValueError, match="segment name"):
        attach(f"shmtel.a.b.{name}")


def test_a_pipe_that_was_there_before_is_left_aside(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(path := SHM / f"shmtel.{namespace}.pipe.a")
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc()
        assert quarantined(reader) == 1
        assert reader.snapshot().value("c_total") == 1
    assert "not a regular file" in caplog.text
    path.unlink()


def test_a_pipe_in_the_place_of_a_living_segment_holds_up_nobody(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=16) as telemetry:
        telemetry.counter("c").inc()
        reader.poll()
        (SHM / telemetry._producer.segment.name).unlink()
        os.mkfifo(path := SHM / telemetry._producer.segment.name)
        telemetry.counter("c").inc()
        assert telemetry.stats().attempted == 2
        reader.poll()
        reader.poll()
        assert reader.snapshot().value("c_total") == 2
        path.unlink()


@pytest.mark.parametrize("place", [control_of, state_of], ids=["control", "state"])
@pytest.mark.parametrize("what", ["pipe", "directory", "link", "dangling link", "hard link"])
def test_squatters_of_the_readers_own_files_are_refused_in_one_line(
    namespace: str, place: Callable[[str], Path], what: str, tmp_path: Path
) -> None:
    path, other = place(namespace), SHM / f"shmtel.{namespace}-other"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "dangling link":
        path.symlink_to(tmp_path / "nothing")
    else:
        other.write_bytes(b"precious" * 1000)
        path.symlink_to(other) if what == "link" else path.hardlink_to(other)
    with pytest.raises(ShmtelError, match=r"have it removed|cannot be opened|damaged|not a state") as refused:
        Reader(namespace)
    assert "\n" not in str(refused.value)
    assert path.name in str(refused.value)
    assert not (tmp_path / "nothing").exists()
    if other.exists():
        assert other.read_bytes() == b"precious" * 1000
        other.unlink()
    path.rmdir() if what == "directory" else path.unlink()


def test_squatters_of_the_windows_are_replaced_and_never_written_to(namespace: str) -> None:
    other = SHM / f"shmtel.{namespace}-other"
    other.write_bytes(b"precious")
    path = windows_path(state_of(namespace))
    path.symlink_to(other)
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc()
        reader.poll()
        assert reader.snapshot().value("c_total") == 1
    assert other.read_bytes() == b"precious"
    other.unlink()
    path.unlink(missing_ok=True)


@needs_root
def test_another_users_segments_are_left_aside_unless_that_user_is_allowed(
    namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = str(as_nobody(lambda: leave_segment(namespace)))
    with Reader(namespace, ephemeral=True) as reader:
        assert quarantined(reader) == 1
        assert "theirs_total" not in reader.snapshot().families
    assert caplog.messages == [f"left aside: {name}: belongs to user {NOBODY}, who is not allowed (--allow-uid)"]
    with Reader(namespace, ephemeral=True, allow_uids=[NOBODY]) as reader:
        assert quarantined(reader) == 0
        assert reader.snapshot().value("theirs_total") == 1
    assert not (SHM / name).exists()


@needs_root
def test_the_owner_is_who_owns_the_file_whatever_its_header_says(namespace: str) -> None:
    with Telemetry("p", namespace, capacity=16) as telemetry:
        forged = Forgery(telemetry._producer.segment)
        assert forged.header.uid == 0
        path = forged.put()
        os.chown(path, NOBODY, NOBODY)
        with pytest.raises(SegmentError, match=f"belongs to user {NOBODY}"):
            attach(path.name)
        attach(path.name, allow_uids={NOBODY}).close()
        path.unlink()


@needs_root
def test_an_allowed_users_file_with_another_name_is_refused(namespace: str) -> None:
    name = str(as_nobody(lambda: leave_segment(namespace)))
    other = SHM / f"shmtel.{namespace}-other"
    other.hardlink_to(SHM / name)
    with pytest.raises(SegmentError, match="2 names"):
        attach(name, allow_uids={NOBODY})
    other.unlink()
    attach(name, allow_uids={NOBODY}).close()
    (SHM / name).unlink()


@needs_root
@pytest.mark.parametrize("place", [control_of, state_of], ids=["control", "state"])
def test_another_users_file_in_the_readers_place_is_refused(namespace: str, place: Callable[[str], Path]) -> None:
    path = place(namespace)
    as_nobody(lambda: path.touch(0o666))
    with pytest.raises(ShmtelError, match=r"belongs to user 65534|Permission denied") as refused:
        Reader(namespace)
    assert "\n" not in str(refused.value)
    path.unlink()


@needs_root
def test_a_consumer_takes_allowed_users_segments_and_no_others(namespace: str) -> None:
    def leave() -> None:
        ring = Producer("orders", [("x", "u8")], namespace, capacity=8)
        ring.emit(bytes(8))

    as_nobody(leave)
    with Consumer("orders", namespace) as ring:
        assert len(ring.read()) == 0
    with Consumer("orders", namespace, allow_uids=[NOBODY]) as ring:
        assert len(ring.read()) == 1


@needs_root
def test_the_command_line_allows_users_by_option_and_variable(namespace: str) -> None:
    name = str(as_nobody(lambda: leave_segment(namespace)))
    script = "import sys; from shmtelemetry.cli import main; main(sys.argv[1:])"
    listed = ("ls", "--namespace", namespace, "--json")
    (row,) = json.loads(run_python(script, *listed).stdout)
    assert (row["uid"], row["pid"]) == (NOBODY, None)
    assert f"belongs to user {NOBODY}" in row["error"]
    (row,) = json.loads(run_python(script, *listed, "--allow-uid", str(NOBODY)).stdout)
    assert row["error"] is None
    once = ("reader", "--namespace", namespace, "--ephemeral", "--once")
    assert "theirs_total" not in run_python(script, *once).stdout
    assert "theirs_total 1.0" in run_python(script, *once, SHMTEL_ALLOW_UID=f"1 {NOBODY}").stdout
    assert not (SHM / name).exists()


@pytest.mark.parametrize("uid", [-1, 2**32 - 1, 2**64, "root", True, 1.5])
def test_what_is_no_users_number_is_an_error(namespace: str, uid: object) -> None:
    with pytest.raises(ValueError, match="expected the number of a user"):
        Reader(namespace, allow_uids=[uid])  # type: ignore[list-item]


def test_what_a_segment_says_cannot_write_lines_of_its_own_into_the_log(
    namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=16) as telemetry:
        forged = Forgery(telemetry._producer.segment)
        stored = {
            "fields": [["x\n\x1b[31m", "<u8", 0]],
            "itemsize": 24,
            "roles": {"y": {"role": "counter"}},
            "events": 0,
        }
        forged.set_schema(json.dumps(stored).encode())
        path = forged.put()
        assert quarantined(reader) == 1
        assert [message.isprintable() for message in caplog.messages] == [True]
        path.unlink()
