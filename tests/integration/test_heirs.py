"""Segments whose cumulative columns go on where those of the one before them ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Producer, Reader, Schema, field, layout
from shmtelemetry.producer import Setup
from shmtelemetry.segment import segment_names
from tests.processes import child, in_child
from tests.readers import shmtel

RECORD = np.dtype([("who", "S4"), ("where", "S4"), ("sent", "<u8"), ("seconds", "<f8")])
SCHEMA = Schema(
    RECORD,
    {
        "who": field("label"),
        "where": field("label"),
        "sent": field("total", name="sent_total", labels=("who",)),
        "seconds": field("histogram", name="sent_seconds", labels=(), weight="sent"),
    },
)


def heir(namespace: str, schema: Schema = SCHEMA) -> Producer:
    setup = Setup(namespace, "p", schema, 128, "block", flags=layout.FLAG_HEIR)
    return Producer("p", schema, setup=setup)


def emit(namespace: str, *totals: tuple[str, int]) -> None:
    with heir(namespace) as ring:
        for who, total in totals:
            assert ring.emit_fields(who, "x", total, 0.5)


def emit_and_die(namespace: str, *totals: tuple[str, int]) -> None:
    def die() -> None:
        ring = heir(namespace)
        for who, total in totals:
            ring.emit_fields(who, "x", total, 0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    with child(die) as pid:
        os.waitpid(pid, 0)


def forget(namespace: str) -> None:
    for name in list(segment_names(namespace)):
        Path("/dev/shm", name).unlink()


def test_totals_go_on_and_weigh_observations(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        emit(namespace, ("a", 10), ("b", 100))
        emit_and_die(namespace, ("a", 12))  # before the first one is in the state
        emit(namespace)
        emit(namespace, ("b", 101), ("a", 3))  # it began again
        assert reader.settle(60.0)
        snapshot = reader.snapshot()
    assert snapshot.value("sent_total", who="a") == 15
    assert snapshot.value("sent_total", who="b") == 101
    seconds = snapshot.histogram("sent_seconds")
    assert (seconds.count, seconds.sum) == (116, 58.0)
    assert len(list(segment_names(namespace))) == 1
    forget(namespace)


def test_they_go_on_with_the_next_reader(namespace: str) -> None:
    for total in (10, 11, 13):
        emit(namespace, ("a", total))
        with Reader(namespace) as reader:
            assert reader.settle(60.0)
    with Reader(namespace, ephemeral=True) as reader:
        snapshot = reader.snapshot()
    assert snapshot.value("sent_total", who="a") == 13
    assert len(list(segment_names(namespace))) == 1
    forget(namespace)


def test_the_last_one_stays_until_somebody_means_it(namespace: str) -> None:
    emit(namespace, ("a", 1))
    with Reader(namespace, ephemeral=True) as reader:
        assert reader.settle(60.0)
    assert "where its producer goes on" in shmtel("gc", "--namespace", namespace).stdout
    assert len(list(segment_names(namespace))) == 1
    shmtel("gc", "--namespace", namespace, "--undrained")
    assert not list(segment_names(namespace))


def test_one_that_wrote_nothing_does_not_stay(namespace: str) -> None:
    emit(namespace, ("a", 1))
    in_child(lambda: emit(namespace))
    with Reader(namespace, ephemeral=True) as reader:
        assert reader.settle(60.0)
        assert reader.snapshot().value("sent_total", who="a") == 1
    assert len(list(segment_names(namespace))) == 1
    forget(namespace)


def test_a_weight_that_is_none_is_an_error() -> None:
    dtype = np.dtype([("n", "<u8"), ("s", "<f8"), ("l", "S4")])
    for roles, said in (
        ({"s": field("histogram", weight="n")}, "counter or total"),
        ({"n": field("gauge"), "s": field("histogram", weight="n")}, "counter or total"),
        ({"n": field("counter", labels=("l",))}, "label fields"),
    ):
        with pytest.raises(ValueError, match=said):
            Schema(dtype, roles)
    with pytest.raises(ValueError, match="histogram"):
        field("gauge", weight="n")


def test_a_schema_that_is_stored_keeps_weights_and_labels() -> None:
    assert Schema.from_json(SCHEMA.to_json()).roles == SCHEMA.roles
