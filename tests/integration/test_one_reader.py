"""One reader a namespace and user: the lock, and the file that shows who has it."""

from __future__ import annotations

import os
import signal

import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.errors import ReaderBusyError, StateError
from shmtelemetry.liveness import lock
from tests.processes import child, in_child, kill, wait_until
from tests.reading import SHM, control_of, running_reader, shown_pid


def busy_pid(namespace: str) -> int:
    """The pid that a second reader is told."""
    with pytest.raises(ReaderBusyError) as refused:
        Reader(namespace)
    return refused.value.pid


def test_a_second_reader_is_told_the_first_ones_pid_also_in_an_empty_namespace(namespace: str) -> None:
    with Reader(namespace, ephemeral=True):
        assert busy_pid(namespace) == os.getpid()
        assert in_child(lambda: busy_pid(namespace)) == os.getpid()


def test_a_refused_reader_disturbs_nothing(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c")
        counter.inc()
        reader.poll()
        busy_pid(namespace)
        counter.inc()
        reader.poll()
        assert reader.snapshot().value("c_total") == 2


def test_readers_of_other_namespaces_do_not_meet(namespace: str) -> None:
    with Reader(namespace, ephemeral=True), Reader(namespace + "-b", ephemeral=True):
        pass


def test_a_killed_reader_leaves_its_namespace_free(namespace: str) -> None:
    with running_reader(namespace) as pid:
        assert busy_pid(namespace) == pid
        kill(pid)
        assert shown_pid(namespace) == pid
        with Reader(namespace, ephemeral=True):
            assert shown_pid(namespace) == os.getpid()


def test_a_stopped_reader_keeps_its_namespace(namespace: str) -> None:
    with running_reader(namespace) as pid:
        os.kill(pid, signal.SIGSTOP)
        assert busy_pid(namespace) == pid
        kill(pid)
    Reader(namespace, ephemeral=True).close()


def test_a_child_of_a_killed_reader_does_not_keep_its_namespace(namespace: str) -> None:
    told, tell = os.pipe()

    def read_and_fork() -> None:
        Reader(namespace)
        grandchild = os.fork()
        if grandchild:
            os.write(tell, str(grandchild).encode())
        signal.pause()

    with child(read_and_fork) as pid:
        grandchild = int(os.read(told, 20))
        try:
            kill(pid)
            Reader(namespace, ephemeral=True).close()
        finally:
            os.kill(grandchild, signal.SIGKILL)
    os.close(told)
    os.close(tell)


def test_a_forked_child_that_closes_the_reader_takes_nothing_from_its_parent(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c")
        counter.inc()
        in_child(reader.close)
        assert busy_pid(namespace) == os.getpid()
        reader.poll()
        assert reader.snapshot().value("c_total") == 1


def test_the_control_file_goes_with_the_reader(namespace: str) -> None:
    with Reader(namespace, ephemeral=True):
        assert control_of(namespace).stat().st_mode & 0o777 == 0o600
    assert not control_of(namespace).exists()


@pytest.mark.parametrize("left", [b"", b"nobody", b"4194304", b"\xff" * 100])
def test_whatever_a_control_file_says_it_is_only_the_lock_that_counts(namespace: str, left: bytes) -> None:
    control_of(namespace).write_bytes(left)
    with Reader(namespace, ephemeral=True):
        assert shown_pid(namespace) == os.getpid() or left.startswith(b"\xff")
        control_of(namespace).write_bytes(left)
        with pytest.raises(ReaderBusyError):
            Reader(namespace)


def test_whoever_removes_the_control_file_does_not_make_room_for_a_second_reader(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        control_of(namespace).unlink()
        assert busy_pid(namespace) == os.getpid()
        telemetry.counter("c").inc()
        reader.poll()
        assert reader.snapshot().value("c_total") == 1
    assert not control_of(namespace).exists()
    Reader(namespace, ephemeral=True).close()


def test_a_lock_on_a_file_that_the_reader_before_has_removed_meanwhile_does_not_count(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = []

    def remove_and_lock(fd: int, byte: int) -> bool:
        if not locked:
            control_of(namespace).unlink()
        locked.append(fd)
        return lock(fd, byte)

    with monkeypatch.context() as patched:
        patched.setattr("shmtelemetry.reader.control.lock", remove_and_lock)
        reader = Reader(namespace, ephemeral=True)
    with reader:
        assert shown_pid(namespace) == os.getpid()
        assert busy_pid(namespace) == os.getpid()


def test_a_control_file_that_is_a_link_is_not_followed(namespace: str) -> None:
    target = SHM / f"shmtel.{namespace}.@elsewhere"
    control_of(namespace).symlink_to(target)
    with pytest.raises(StateError, match="is a link"):
        Reader(namespace)
    assert not target.exists()
    control_of(namespace).unlink()


def test_a_reader_that_cannot_open_its_state_lets_go_of_the_namespace(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr("shmtelemetry.reader.role.State", fail)
        with pytest.raises(OSError, match="Too many"):
            Reader(namespace)
    Reader(namespace, ephemeral=True).close()


def test_the_reader_who_comes_when_the_other_ends_gets_the_namespace(namespace: str) -> None:
    def try_hard() -> int:
        def opened() -> Reader | None:
            try:
                return Reader(namespace, ephemeral=True)
            except ReaderBusyError:
                return None

        for _ in range(50):
            wait_until(opened, "the namespace is free").close()
        return os.getpid()

    with child(try_hard) as other:
        in_child(try_hard)
        os.waitpid(other, 0)
    assert not control_of(namespace).exists()
