"""Segments that somebody cuts short while they are mapped: nobody else notices."""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import SAMPLE, Consumer, Producer, Telemetry, layout
from shmtelemetry._mapping import Mapping, install_guard
from shmtelemetry.accounting import segment_stats
from shmtelemetry.segment import Segment
from tests.hostile import produce_and_wait, read_guarded, segment_at_rest, store
from tests.processes import child, in_child, wait_until
from tests.reading import SHM, talker

PAGE = mmap.PAGESIZE


def cut_to(segment: Segment, size: int) -> None:
    os.truncate(SHM / segment.name, size)


CUTS: dict[str, Callable[[Segment], object]] = {
    "to nothing": lambda bad: cut_to(bad, 0),
    "within the producer's page": lambda bad: cut_to(bad, bad.header.producer_offset + 8),
    "before the reader's page": lambda bad: cut_to(bad, bad.header.reader_offset),
    "within the ring": lambda bad: cut_to(bad, bad.header.ring_offset + PAGE),
    "before the catalogue": lambda bad: cut_to(bad, bad.header.catalogue_offset),
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_file_that_is_cut_short_under_the_reader_is_left_aside(namespace: str, cut: str) -> None:
    with (
        child(partial(produce_and_wait, namespace)),
        talker(partial(read_guarded, namespace)) as reader,
        Telemetry("good", namespace) as good,
    ):
        counter = good.counter("good")
        bad = segment_at_rest(namespace)
        out = bad.header.producer_offset
        wait_until(lambda: segment_stats(bad).in_ring == 0, "the reader has drained it")
        written, catalogue = (bad.mapping.load(out + at) for at in (layout.WRITE_POSITION, layout.CATALOGUE_LENGTH))
        counter.inc()
        CUTS[cut](bad)
        if (SHM / bad.name).stat().st_size >= out + PAGE:  # have the reader look at what is missing
            store(bad, out + layout.WRITE_POSITION, written + 1024)
            store(bad, out + layout.CATALOGUE_LENGTH, catalogue + 8)
        for _ in range(1000):
            counter.inc()
        wait_until(lambda: good.stats().in_ring == 0, "the other producer is drained")
        time.sleep(0.3)  # some rounds of the keeper: there is nothing else to see from here
        figures = reader.finish()
        assert figures["good_total"] == 1001
        assert figures["shmtel_quarantined_segments"] == 1
        assert figures["said"] == 1
        bad.close()
        (SHM / bad.name).unlink()


def test_a_consumer_under_a_guard_leaves_aside_what_is_cut_short(namespace: str) -> None:
    def consume() -> tuple[int, int]:
        install_guard()
        ring = Producer("p", SAMPLE, namespace, capacity=1024)
        ring.emit_many(np.zeros(512, SAMPLE))
        with Consumer("p", namespace) as consumer:
            first = len(consumer.read(100))
            os.truncate(SHM / ring.segment.name, ring.segment.header.ring_offset + PAGE)
            second = len(consumer.read())
            (SHM / ring.segment.name).unlink()
            return first, second

    assert in_child(consume) == (100, 0)


def test_faults_that_are_nobodys_go_to_the_handler_before(tmp_path: Path) -> None:
    def fault(guarded: bool) -> str:
        install_guard()
        (path := tmp_path / "file").write_bytes(bytes(2 * PAGE))
        fd = os.open(path, os.O_RDWR)
        mapping = Mapping(fd, 2 * PAGE)
        if guarded:
            mapping.guard()
        os.truncate(path, PAGE)
        assert mapping.load(0) == 0
        assert not mapping.cut
        assert mapping.load(PAGE) == 0
        return "alive" if mapping.cut else "unnoticed"

    assert in_child(partial(fault, True)) == "alive"
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)  # pytest's own handler would write a trace
        fault(False)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGBUS


def test_a_forked_child_of_a_guarded_process_can_be_guarded_too(tmp_path: Path) -> None:
    def fault() -> bool:
        (path := tmp_path / "file").write_bytes(bytes(PAGE))
        install_guard()
        mapping = Mapping(os.open(path, os.O_RDWR), PAGE)
        mapping.guard()
        os.truncate(path, 0)
        mapping.load(0)
        return mapping.cut

    def parent() -> tuple[bool, bool]:
        return fault(), in_child(fault)

    assert in_child(parent) == (True, True)
