"""Figures of events are right before, while and after a store does not take them."""

from __future__ import annotations

import time

import numpy as np

from shmtelemetry import Producer, Reader
from shmtelemetry.service.alerts import Evaluator, Rules
from tests.events import Stuck, figures
from tests.trades import TRADE, trades


def test_what_is_written_over_is_told_before_the_store_works_again(namespace: str) -> None:
    sink, evaluator, now = Stuck(), Evaluator(Rules.load()), time.time()
    with (
        Producer("engine", TRADE, namespace, capacity=64) as ring,
        Reader(namespace, ephemeral=True, events=sink) as reader,
    ):
        reader.poll()
        evaluator.evaluate(reader.snapshot(), now)
        seen, fired = [], set[str]()
        for second in range(1, 31):
            ring.emit_many(trades(32 * (second - 1), 32))
            reader.poll()
            stored, let_go, waiting = figures(reader)
            assert stored + let_go + waiting == 32 * second
            seen.append(let_go)
            fired |= {alert.name for alert in evaluator.evaluate(reader.snapshot(), now + second) if alert.fired}
        assert seen == [max(0, 32 * at - 64) for at in range(30)]  # but for the 32 that were taken, and the newest 64
        assert "EventsLetGo" in fired
        sink.works = True
        reader.poll()
        assert figures(reader) == (96, seen[-1], 0)


def test_the_next_reader_shows_no_less_while_the_store_does_not_work(namespace: str) -> None:
    with Producer("engine", TRADE, namespace, capacity=64) as ring:
        with Reader(namespace, events=Stuck()) as reader:
            for begin in range(0, 640, 32):
                ring.emit_many(trades(begin, 32))
                reader.poll()
            _, before, _ = figures(reader)
            assert before == 640 - 96
        sink = Stuck()
        with Reader(namespace, ephemeral=True, events=sink) as reader:
            reader.poll()
            assert figures(reader) == (0, 640 - 64, 64)  # what the one before had taken went with it
            sink.works = True
            reader.poll()
            assert figures(reader) == (64, 640 - 64, 0)
    assert np.concatenate(sink.records)["trade_id"].tolist() == list(range(640 - 64, 640))
