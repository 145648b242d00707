"""The bound on series: what comes beyond is counted together, exactly, and each label set once."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

from shmtelemetry import Reader, Telemetry, read_state
from shmtelemetry.aggregate.snapshot import Snapshot
from tests.processes import in_child
from tests.readers import reader, shmtel

BOUND = 30
PRODUCERS = {"a": range(40), "b": range(20, 60), "c": range(60)}  # whose label sets are partly the same
ALL = {number for numbers in PRODUCERS.values() for number in numbers}


def emit(telemetry: Telemetry, numbers: range) -> None:
    sent, took = telemetry.counter("sent_total", labels=("n",)), telemetry.histogram("took", labels=("n", "m"))
    for number in numbers:
        sent.labels(number).inc(number + 1)
        took.labels(number, "x").observe(number + 1)


def check(snapshot: Snapshot, rounds: int) -> None:
    """Both metrics: every step is somewhere, and the label sets without a series of their own are counted once."""
    expected = rounds * sum(number + 1 for numbers in PRODUCERS.values() for number in numbers)
    beyond = 0
    for name, overflow in (("sent_total", ("overflow",)), ("took", ("overflow", "overflow"))):
        family = snapshot.families[name]
        counted = dict(zip(family.labels, family.values.tolist(), strict=True))
        assert sum(counted.values()) == expected
        assert overflow in counted
        beyond += len(ALL) - (len(counted) - 1)
    assert snapshot.value("shmtel_series_overflow_total") == beyond
    assert BOUND <= snapshot.value("shmtel_series") <= BOUND + 2


def test_every_step_counts_and_every_label_set_once_over_producers_and_readers(namespace: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        producers = {name: stack.enter_context(Telemetry(name, namespace)) for name in PRODUCERS}
        for rounds, ending in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM), 1):
            said = tmp_path / f"said-{rounds}"
            with reader(namespace, "--max-series", str(BOUND), said=said) as running:
                for name, numbers in PRODUCERS.items():
                    emit(producers[name], numbers)
                running.get("/metrics")
                check(read_state(namespace), rounds)
                running.end(ending)
            for metric in ("sent_total", "took"):
                lines = [
                    line for line in said.read_text().splitlines() if f"{metric}: more than {BOUND} series" in line
                ]
                assert len(lines) == 1
    shmtel("reader", "--once", "--ephemeral", "--namespace", namespace)


def test_label_sets_of_producers_that_come_and_go_are_counted_once(namespace: str) -> None:
    def one_of_many() -> None:
        with Telemetry("short", namespace) as telemetry:
            emit(telemetry, range(40))

    with Reader(namespace, ephemeral=True, max_series=BOUND) as reader:
        for _ in range(5):
            in_child(one_of_many)
            reader.poll()
        snapshot = reader.snapshot()
    assert sum(snapshot.families["sent_total"].values) == 5 * sum(range(1, 41))
    shown = sum(len(snapshot.families[name].labels) - 1 for name in ("sent_total", "took"))
    assert snapshot.value("shmtel_series_overflow_total") == 80 - shown


def test_a_larger_bound_gives_new_label_sets_series_and_a_smaller_one_takes_none_away(namespace: str) -> None:
    with Telemetry("a", namespace) as telemetry, Reader(namespace, ephemeral=True, max_series=3) as reader:
        sent = telemetry.counter("sent_total", labels=("n",))

        def labels() -> list[str]:
            reader.poll()
            return sorted(n for (n,) in reader.snapshot().families["sent_total"].labels)

        for number in range(3):  # the reader's own series is one of the three
            sent.labels(number).inc()
        assert labels() == ["0", "1", "overflow"]
        reader.bound(max_series=5)
        sent.labels(3).inc()
        assert labels() == ["0", "1", "3", "overflow"]
        reader.bound(max_series=2)
        sent.labels(4).inc()
        sent.labels(3).inc()
        assert labels() == ["0", "1", "3", "overflow"]
        assert reader.snapshot().value("sent_total", n="3") == 2
        assert reader.snapshot().value("sent_total", n="overflow") == 2


def test_a_bound_that_is_set_while_another_has_the_role_counts_from_when_it_is_taken(namespace: str) -> None:
    with Telemetry("a", namespace) as telemetry, Reader(namespace, standby=True, ephemeral=True) as standby:
        sent = telemetry.counter("sent_total", labels=("n",))
        standby.bound(max_series=2)
        for number in range(3):
            sent.labels(number).inc()
        standby.poll()
        assert sorted(standby.snapshot().families["sent_total"].labels) == [("0",), ("overflow",)]


def test_removing_one_label_set_takes_nothing_from_the_others_beyond_the_bound(namespace: str) -> None:
    with Reader(namespace, ephemeral=True, max_series=1) as reader:
        with Telemetry("ended", namespace) as ended:
            ended.counter("sent_total", labels=("n",)).labels(1).inc(5)
        reader.poll()
        with Telemetry("alive", namespace) as alive:
            sent = alive.counter("sent_total", labels=("n",))
            sent.labels(2).inc(7)
            sent.remove(2)
            reader.poll()
            assert reader.snapshot().value("sent_total", n="overflow") == 12
