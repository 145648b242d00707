"""Who counts as alive: whoever can still write, and nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from shmtelemetry import Consumer, Producer, layout
from shmtelemetry.liveness import Process, is_locked
from shmtelemetry.segment import Segment, attach, segment_names
from tests.peers import unshared
from tests.processes import child, in_child, kill, run_python, wait_until

DTYPE = np.dtype([("seq", "<u8")])


def producing(namespace: str, then: Callable[[], None] = lambda: None) -> Callable[[], None]:
    """A process that writes one record, does something, and stays."""

    def run() -> None:
        ring = Producer("orders", DTYPE, namespace, capacity=8)
        then()
        ring.emit_fields(1)
        while True:
            time.sleep(1)

    return run


def its_segment(namespace: str) -> Segment:
    """The segment of the producer, once its record is there."""
    (name,) = wait_until(lambda: list(segment_names(namespace)), "there is a segment")
    segment = attach(name)
    wait_until(lambda: segment.mapping.load(segment.header.producer_offset + layout.WRITE_POSITION), "a record")
    return segment


def locked(segment: Segment) -> bool:
    fd = os.open(f"/dev/shm/{segment.name}", os.O_RDONLY)
    try:
        return is_locked(fd, layout.LOCK_PRODUCER)
    finally:
        os.close(fd)


def consume_all(namespace: str) -> list[int]:
    with Consumer("orders", namespace) as consumer:
        return [int(seq) for seq in consumer.read()["seq"]]


def test_a_killed_producer_is_dead_and_its_record_is_there(namespace: str) -> None:
    with child(producing(namespace)) as pid:
        segment = its_segment(namespace)
        assert segment.alive()
        assert locked(segment)
        kill(pid)
        assert not locked(segment)
        assert not segment.alive()
    assert consume_all(namespace) == [1]


def test_a_zombie_is_dead(namespace: str) -> None:
    with child(producing(namespace)) as pid:
        segment = its_segment(namespace)
        os.kill(pid, signal.SIGKILL)  # and nobody waits for it
        wait_until(lambda: not segment.alive(), "it counts as dead")
    assert consume_all(namespace) == [1]


def test_a_stopped_producer_is_alive(namespace: str) -> None:
    with child(producing(namespace)) as pid:
        segment = its_segment(namespace)
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        assert locked(segment)
        assert segment.alive()
        assert consume_all(namespace) == [1]
        assert segment.linked
        kill(pid)
    assert consume_all(namespace) == []


def test_a_daemon_that_closes_all_its_descriptors_stays_alive(namespace: str) -> None:
    with child(producing(namespace, lambda: os.closerange(0, 4096))) as pid:
        segment = its_segment(namespace)
        assert locked(segment)
        assert segment.alive()
        kill(pid)
        assert not segment.alive()
    assert consume_all(namespace) == [1]


def test_a_forked_child_does_not_keep_its_dead_parent_alive(namespace: str) -> None:
    report, pipe = os.pipe()

    def fork_a_child() -> None:
        pid = os.fork()
        if pid == 0:
            while True:
                time.sleep(1)
        os.write(pipe, pid.to_bytes(4, "little"))

    with child(producing(namespace, fork_a_child)) as pid:
        grandchild = int.from_bytes(os.read(report, 4), "little")
        try:
            segment = its_segment(namespace)
            kill(pid)
            os.kill(grandchild, 0)
            assert not locked(segment)
            assert not segment.alive()
        finally:
            os.kill(grandchild, signal.SIGKILL)
            os.close(report)
            os.close(pipe)
    assert consume_all(namespace) == [1]


def test_a_closed_producer_is_dead_though_its_process_lives(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8) as ring:
        ring.emit_fields(1)
        segment = attach(ring.segment.name)
        assert segment.alive()
    assert not segment.alive()
    segment.close()
    assert consume_all(namespace) == [1]


def test_a_producer_whose_lock_is_lost_is_alive_as_long_as_its_process(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8) as ring:
        segment = attach(ring.segment.name)
        os.unlink(f"/dev/shm/{segment.name}")
        assert segment.alive()
        assert not segment.linked


def test_a_process_is_told_from_a_later_one_with_its_pid() -> None:
    me = Process.current()
    assert me.exists()
    assert not replace(me, pid_start=me.pid_start + 1).exists()
    assert not replace(me, boot_id=bytes(16)).exists()
    assert not replace(me, pid_namespace=me.pid_namespace + 1).exists()
    assert not replace(me, pid=2**63).exists()
    assert not in_child(Process.current).exists()


def test_a_process_name_with_brackets_and_spaces_does_not_confuse(namespace: str) -> None:
    script = """
import sys
from pathlib import Path
from shmtelemetry.liveness import Process
before = Process.current()
Path("/proc/self/comm").write_text(") Z 1 2 (")
assert Process.current() == before and before.exists()
"""
    run_python(script)


def test_a_producer_in_another_pid_namespace_is_judged_by_its_lock(namespace: str) -> None:
    script = f"""
import sys, time
import numpy as np
from shmtelemetry import Producer
ring = Producer("orders", np.dtype([("seq", "<u8")]), {namespace!r}, capacity=8)
ring.emit_fields(1)
sys.stdin.read()
"""
    command = [*unshared("--pid", "--fork", "--kill-child"), sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        segment = its_segment(namespace)
        assert not segment.header.process.exists()
        assert segment.alive()
        process.kill()
        process.wait()
        wait_until(lambda: not segment.alive(), "it is dead")
    assert consume_all(namespace) == [1]
