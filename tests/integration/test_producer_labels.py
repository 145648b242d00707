"""Series of all producers together, or of each by itself."""

from __future__ import annotations

import pytest

from shmtelemetry import Producer, Reader, Schema, Telemetry, field, read_state
from shmtelemetry.errors import StateError
from tests.readers import shmtel

SCHEMA = Schema([("who", "S4"), ("x", "<u8")], {"who": field("label"), "x": field("total", name="sent")})


def emit(telemetry: Telemetry, value: float) -> None:
    telemetry.counter("orders_total", labels=("symbol",)).labels("AAPL").inc(value)
    telemetry.histogram("latency_seconds", buckets=(1.0,)).observe(value)
    telemetry.gauge("depth").set(value)
    telemetry.gauge("open", merge="sum").set(value)
    telemetry.gauge("each", merge="all").set(value)


def series(reader: Reader, name: str) -> dict[tuple[str, ...], float]:
    family = reader.snapshot().families[name]
    return {
        tuple(f"{label}={value}" for label, value in zip(family.label_names, values, strict=True)): number
        for values, number in zip(family.labels, family.values.tolist(), strict=True)
    }


@pytest.mark.parametrize("labelled", [False, True])
def test_producers_are_added_up_or_told_apart(namespace: str, labelled: bool) -> None:
    with (
        Telemetry("a", namespace) as a,
        Telemetry("b", namespace) as b,
        Telemetry("b", namespace) as another_b,
        Producer("r", SCHEMA, namespace) as records,
        Reader(namespace, ephemeral=True, label_producer=labelled) as reader,
    ):
        emit(a, 0.5)
        emit(b, 2.0)
        reader.poll()
        emit(another_b, 8.0)
        records.emit_fields(b"me", 7)
        reader.poll()
        own = ("symbol=AAPL",)
        if labelled:
            assert series(reader, "orders_total") == {(*own, "producer=a"): 0.5, (*own, "producer=b"): 10.0}
            assert series(reader, "latency_seconds") == {("producer=a",): 0.5, ("producer=b",): 10.0}
            assert series(reader, "depth") == {("producer=a",): 0.5, ("producer=b",): 8.0}
            assert series(reader, "open") == {("producer=a",): 0.5, ("producer=b",): 10.0}
            assert series(reader, "sent_total") == {("who=me", "producer=r"): 7}
        else:
            assert series(reader, "orders_total") == {own: 10.5}
            assert series(reader, "latency_seconds") == {(): 10.5}
            assert series(reader, "depth") == {(): 8.0}
            assert series(reader, "open") == {(): 10.5}
            assert series(reader, "sent_total") == {("who=me",): 7}
        assert series(reader, "each").keys() == {("producer=a",), ("producer=b",)}
        assert reader.snapshot().families["shmtel_reader_lag_seconds"].label_names == ()


def test_a_label_of_that_name_is_called_exported(namespace: str) -> None:
    with Telemetry("a", namespace) as a, Reader(namespace, ephemeral=True, label_producer=True) as reader:
        a.counter("films_total", labels=("producer", "year")).labels("Lang", "1927").inc()
        a.counter("both_total", labels=("exported_producer", "producer")).labels("x", "y").inc()
        reader.poll()
        assert series(reader, "films_total") == {("exported_producer=Lang", "year=1927", "producer=a"): 1}
        assert series(reader, "both_total") == {
            ("exported_producer=x", "exported_exported_producer=y", "producer=a"): 1
        }


def test_the_next_reader_goes_on_as_the_state_began_and_another_wish_is_refused(namespace: str) -> None:
    with Telemetry("a", namespace) as a:
        with Reader(namespace) as reader:  # nothing is in it yet, so it may still be chosen
            reader.poll()
        with Reader(namespace, label_producer=True) as reader:
            a.counter("orders_total").inc()
        with Reader(namespace) as reader:
            a.counter("orders_total").inc()
            reader.poll()
            assert series(reader, "orders_total") == {("producer=a",): 2}
        with pytest.raises(StateError, match=r"was begun with --label-producer: .* --reset-state"):
            Reader(namespace, label_producer=False)
        done = shmtel("reader", "--once", "--namespace", namespace)
        assert (done.returncode, done.stdout) == (1, "")
        assert "was begun with --label-producer" in done.stderr
        assert read_state(namespace).value("orders_total", producer="a") == 2
        done = shmtel("reader", "--once", "--ephemeral", "--namespace", namespace, "--label-producer")
        assert 'orders_total{producer="a"} 2.0' in done.stdout
        with Reader(namespace):
            a.counter("orders_total").inc()
        with pytest.raises(StateError, match="was begun without --label-producer"):
            Reader(namespace, label_producer=True)
        with Reader(namespace, ephemeral=True, label_producer=False) as reader:
            assert series(reader, "orders_total") == {(): 1}
