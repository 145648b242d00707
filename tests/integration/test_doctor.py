"""What `shmtel doctor` finds wrong, with what to do, and its exit code."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, Reader, Telemetry
from tests.forging import Forgery
from tests.peers import with_small_shm
from tests.processes import in_child, is_stopped, wait_until
from tests.readers import reader, shmtel
from tests.reading import running_reader, state_of, the_segment, windows_of

DTYPE = np.dtype([("n", "<u8")])
KEYS = {"severity", "topic", "found", "advice", "namespace"}


def findings(namespace: str, severity: str | None = None) -> list[dict[str, Any]]:
    """Those of the namespace; the exit code says whether any finding is a problem."""
    done = shmtel("doctor", "--namespace", namespace, "--json")
    found = json.loads(done.stdout)
    assert all(set(one) == KEYS for one in found)
    assert all(one["advice"] for one in found if one["severity"] != "ok"), "every finding says what to do"
    assert done.returncode == any(one["severity"] == "problem" for one in found), done.stderr
    return [one for one in found if one["namespace"] == namespace and severity in (None, one["severity"])]


def problems(namespace: str) -> str:
    return " | ".join(f"{one['topic']}: {one['found']} -> {one['advice']}" for one in findings(namespace, "problem"))


def remove_state(namespace: str) -> None:
    for path in (state_of(namespace), windows_of(namespace)):
        path.unlink(missing_ok=True)


def test_a_namespace_that_is_read_has_no_problem(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as running, Telemetry("bot", namespace) as telemetry:
        telemetry.counter("orders_total").inc()
        wait_until(lambda: telemetry.stats().in_ring == 0, "it is drained")
        assert problems(namespace) == ""
        assert str(running.process.pid) in next(f["found"] for f in findings(namespace) if f["topic"] == "reader")
        text = shmtel("doctor", "--namespace", namespace).stdout
        assert all(topic in text for topic in ("shm:", "permissions:", "clock:", "limit as:", "memory:", "RemoveIPC:"))


def test_rings_that_nobody_reads_are_a_problem(namespace: str) -> None:
    with Producer("p", DTYPE, namespace=namespace, capacity=4) as ring:
        for _ in range(6):
            ring.emit(bytes(8))
        said = problems(namespace)
        assert f"shmtel reader --namespace {namespace}" in said
        assert "4 of 4 records wait" in said
        assert "dropped 2 of 6" in findings(namespace, "note")[0]["found"]
        with Consumer("p", namespace=namespace) as consumer:
            consumer.read()
            assert any("Consumer" in one["found"] for one in findings(namespace, "note"))


def test_a_reader_that_stands_still_is_a_problem(namespace: str) -> None:
    with running_reader(namespace) as pid:
        wait_until(lambda: not problems(namespace), "it turns")
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(pid), "it is stopped")
        said = wait_until(lambda: problems(namespace), "its last turn is long ago")
        assert f"process {pid}" in said
    assert "nobody reads" in findings(namespace, "note")[0]["found"]
    shmtel("gc", "--namespace", namespace, "--states")


def test_a_dead_producer_whose_records_nobody_read_is_a_problem(namespace: str) -> None:
    ended = []

    def work() -> None:
        ended.append(Producer("p", DTYPE, namespace=namespace, capacity=4))
        ended[0].emit(bytes(8))

    in_child(work)
    assert "1 records are not taken" in problems(namespace)
    with Reader(namespace, ephemeral=True) as reader:
        assert reader.settle()


def test_definitions_that_disagree_are_named(namespace: str) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("old", namespace) as old,
        Telemetry("new", namespace) as new,
    ):
        old.counter("orders_total", labels=("symbol",)).labels("A").inc()
        reader.poll()
        new.counter("orders_total", labels=("symbol", "side")).labels("A", "buy").inc()
        reader.poll()
        (problem,) = [one for one in findings(namespace, "problem") if one["topic"] == "metrics"]
        assert "orders_total of new" in problem["found"]
        assert "a counter by (symbol, side)" in problem["found"]
        assert "a counter by (symbol)" in problem["found"]


@pytest.mark.parametrize("label_producer", [True, False])
def test_definitions_that_agree_are_no_finding(namespace: str, label_producer: bool) -> None:
    with Reader(namespace, ephemeral=True, label_producer=label_producer) as reader, Telemetry("p", namespace) as made:
        made.counter("orders_total", labels=("producer",)).labels("A").inc()
        reader.poll()
        assert not [one for one in findings(namespace) if one["topic"] == "metrics"]


def test_series_beyond_the_bound_are_a_problem(namespace: str) -> None:
    with Reader(namespace, ephemeral=True, max_series=3) as reader, Telemetry("p", namespace) as telemetry:
        for number in range(9):
            telemetry.counter("c_total", labels=("n",)).labels(str(number)).inc()
        reader.poll()
        assert "label sets are counted together as overflow" in problems(namespace)


def test_a_segment_that_lies_and_a_damaged_state_are_problems(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry:
        telemetry.counter("c_total").inc()
        forgery = Forgery(the_segment(namespace))
        forgery.set_header("capacity", 3)
        path = forgery.put()
        Reader(namespace).close()
        state_of(namespace).write_bytes(b"somebody's notes")
        said = problems(namespace)
        assert f"rm {path}" in said
        assert "--reset-state" in said
        path.unlink()
    remove_state(namespace)


def test_a_state_that_was_kept_aside_is_a_note(namespace: str) -> None:
    Reader(namespace).close()
    Reader(namespace, reset_state=True, ephemeral=True).close()
    assert "shmtel gc --states" in findings(namespace, "note")[-1]["advice"]
    shmtel("gc", "--namespace", namespace, "--states")


def test_a_small_shared_memory_is_a_problem_with_the_way_out() -> None:
    done = with_small_shm(
        "1m", "import sys; from shmtelemetry.cli import main; sys.exit(main(['doctor'], standalone_mode=False))"
    )
    assert done.returncode == 1, done.stderr
    assert "problem shm: /dev/shm has 1,048,576 bytes" in done.stdout
    assert "--shm-size" in done.stdout
    assert "medium Memory" in done.stdout


@pytest.mark.unsanitized(reason="a sanitizer needs more addresses than this limit leaves")
def test_limits_that_keep_a_reader_from_starting_are_problems(namespace: str) -> None:
    def limited() -> str:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        return shmtel("doctor", "--namespace", namespace).stdout

    assert "problem limit as: 4,294,967,296" in in_child(limited)
