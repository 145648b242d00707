"""A ring behaves as a bounded queue, and its accounting is exact after every step."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shmtelemetry import Consumer, Producer, Schema, Telemetry
from shmtelemetry.producer import Setup
from tests.catalogue import read_catalogue

DTYPE = np.dtype([("seq", "<u8"), ("copy", "<u8")])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.just(1)),
        st.tuples(st.just("emit_many"), st.integers(0, 150)),
        st.tuples(st.just("refused"), st.just(1)),
        st.tuples(st.just("read"), st.integers(0, 150)),
        st.tuples(st.just("last"), st.integers(0, 150)),
    ),
    max_size=60,
)


@given(
    steps=STEPS,
    capacity=st.sampled_from([2, 4, 64, 128]),
    start=st.one_of(st.just(0), st.integers(2**64 - 200, 2**64 - 1), st.integers(2**32 - 200, 2**32)),
)
def test_a_ring_is_a_bounded_queue(namespace: str, steps: list[tuple[str, int]], capacity: int, start: int) -> None:
    setup = Setup(namespace, "orders", Schema(DTYPE), capacity, start_position=start)
    queue: deque[int] = deque()
    history: list[int] = []
    sent = consumed = dropped = rejected = 0

    def rows(count: int) -> np.ndarray:
        return np.array([(seq, ~seq & (2**64 - 1)) for seq in range(sent, sent + count)], DTYPE)

    with Producer("orders", DTYPE, setup=setup) as ring, Consumer("orders", namespace) as consumer:
        for step, count in steps:
            if step in ("emit", "emit_many"):
                batch = rows(count)
                room = min(capacity - len(queue), count)
                accepted = ring.emit_many(batch) if step == "emit_many" else int(ring.emit(batch[0]))
                assert accepted == room
                queue.extend(range(sent, sent + room))
                history.extend(range(sent, sent + room))
                sent, dropped = sent + count, dropped + count - room
            elif step == "refused":
                try:
                    ring.emit(b"short")
                except ValueError:
                    rejected += 1
            elif step == "read":
                batch = consumer.read(count)
                assert batch["seq"].tolist() == [queue.popleft() for _ in range(min(count, len(queue)))]
                assert np.array_equal(batch["copy"], ~batch["seq"])
                consumed += len(batch)
            else:
                assert ring.last(count)["seq"].tolist() == history[-min(count, capacity) :][: len(history)] * (
                    count > 0
                )
            stats = ring.stats()
            assert (stats.attempted, stats.rejected) == (sent + rejected, rejected)
            assert (stats.consumed, stats.in_ring, stats.aborted) == (consumed, len(queue), 0)
            assert stats.dropped == {"full": dropped, "timeout": 0, "no_ring": 0}
        consumer.read()


@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1e6), st.integers(0, 5)), max_size=80),
    capacity=st.sampled_from([2, 4, 16]),
)
def test_no_step_of_a_counter_or_gauge_is_lost_to_a_full_ring(
    namespace: str, steps: list[tuple[int, float, int]], capacity: int
) -> None:
    totals, last = [0.0, 0.0], None
    seen, newest = [0.0, 0.0], (0, None)
    with Telemetry("bot", namespace, capacity) as tel, Consumer("bot", namespace) as consumer:
        counters = [tel.counter("first"), tel.counter("second")]
        depth = tel.gauge("depth")

        def drain(count: int) -> None:
            nonlocal newest
            for sample in consumer.read(count):
                if sample["series"] < 2:
                    seen[sample["series"]] += float(sample["value"])
                else:
                    newest = (int(sample["time"]), float(sample["value"]))

        for which, value, read in steps:
            value = float(int(value))  # sums of integers are exact
            if which < 2:
                assert counters[which].inc(value)
                totals[which] += value
            else:
                assert depth.set(value)
                last = value
            drain(read)
        drain(capacity)
        *cells, of_gauge = [series.cell for series in read_catalogue(tel._producer.segment)]
        assert [part + cell.value for part, cell in zip(seen, cells, strict=True)] == totals
        assert sum(cell.steps for cell in (*cells, of_gauge)) == tel.stats().coalesced
        if last is not None:
            assert (of_gauge.value if of_gauge.steps and of_gauge.time > newest[0] else newest[1]) == last
        stats = tel.stats()
        assert stats.attempted == len(steps) == stats.consumed + stats.coalesced
