"""A producer in C, under AddressSanitizer and UndefinedBehaviorSanitizer, and the reader that it shares with Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from shmtelemetry import Reader, Telemetry, layout
from shmtelemetry.metric import UNITS, metric
from shmtelemetry.reader.definitions import definitions
from shmtelemetry.segment import attach, segment_names
from tests.native import HERE, compiled, driver
from tests.reading import SHM, running_reader


def test_instruments_of_c_and_of_python_are_the_same_metrics_and_add_up(namespace: str, c_driver: Path) -> None:
    with (
        driver(c_driver) as c,
        Telemetry("python", namespace) as telemetry,
        Reader(namespace, ephemeral=True) as reader,
    ):
        c.open(namespace)
        sent = c.add("counter", "orders", labels="symbol,side", values="AAPL,buy", help="Orders sent.")
        depth = c.add("gauge", "depth", merge="sum")
        latency = c.add("histogram", "latency_us")
        assert (c.emit(sent, 2.0, 3), c.emit(depth, 5.0), c.emit(latency, 3.0, 4)) == (3, 1, 4)
        telemetry.counter("orders", "Orders sent.", labels=("symbol", "side")).labels("AAPL", "buy").inc(10)
        telemetry.gauge("depth", merge="sum").set(7)
        telemetry.histogram("latency_us").observe(300.0)
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("orders_total", symbol="AAPL", side="buy") == 16
        assert snapshot.value("depth") == 12
        assert (snapshot.histogram("latency_us").count, snapshot.histogram("latency_us").sum) == (5, 312)
        assert snapshot.value("shmtel_conflicting_metrics_total") == 0
        assert c.stats()["consumed"] == 8
        c.say("close")
        reader.poll()
        assert snapshot.producers["engine"].holds


def test_what_c_leaves_out_becomes_what_python_makes_of_it(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c:
        c.open(namespace)
        made = []
        for number, unit in enumerate(UNITS):
            c.add("histogram", f"h{number}", unit=unit)
            c.add("gauge", f"g_{unit}_total", merge="max")
            c.add("counter", f"c_{unit}")
            made += [metric("histogram", f"h{number}", unit=unit), metric("gauge", f"g_{unit}_total", merge="max")]
            made += [metric("counter", f"c_{unit}")]
        (segment,) = map(attach, segment_names(namespace))
        assert definitions(segment) == made
        segment.close()
        c.say("close")


def test_the_same_series_twice_is_one(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c, Reader(namespace, ephemeral=True) as reader:
        c.open(namespace)
        first = c.add("counter", "c", labels="n", values="1")
        c.add("counter", "c", labels="n", values="2")
        again = c.add("counter", "c_total", labels="n", values="1")
        length = len(attach(next(segment_names(namespace))).catalogue())
        c.add("counter", "c", labels="n", values="2")
        assert len(attach(next(segment_names(namespace))).catalogue()) == length
        c.emit(first, 1.0)
        c.emit(again, 1.0)
        reader.poll()
        assert reader.snapshot().value("c_total", n="1") == 2
        c.say("close")
        reader.poll()


def test_a_full_ring_loses_no_counter_and_no_gauge_and_counts_lost_observations(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c, Reader(namespace, ephemeral=True) as reader:
        c.open(namespace, capacity=16)
        counter, gauge, histogram = c.add("counter", "c"), c.add("gauge", "g"), c.add("histogram", "h")
        assert c.emit(histogram, 0.5, 20) == 16
        assert c.emit(counter, 1.5, 100) == 100
        assert c.emit(gauge, 4.0, 3) == 3
        late = c.add("counter", "defined_while_full")
        assert c.emit(late, 7.0) == 1
        figures = c.stats()
        assert (figures["coalesced"], figures["dropped_full"], figures["in_ring"]) == (104, 4, 16)
        reader.poll()
        snapshot = reader.snapshot()
        assert (snapshot.value("c_total"), snapshot.value("g")) == (150, 4)
        assert snapshot.value("defined_while_full_total") == 7
        assert snapshot.histogram("h").count == 16
        assert snapshot.producers["engine"].dropped["full"] == 4
        assert c.emit(counter, 1.0) == 1
        c.say("close")
        reader.poll()
        assert reader.snapshot().value("c_total") == 151
        assert reader.snapshot().producers["engine"].holds


def test_what_is_wrong_is_rejected_and_counted(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c:
        c.open(namespace)
        counter, gauge, histogram = c.add("counter", "c"), c.add("gauge", "g"), c.add("histogram", "h")
        assert [c.emit(counter, value) for value in (-1.0, float("nan"), float("inf"), 0.0)] == [0, 0, 0, 1]
        assert [c.emit(gauge, value) for value in (-1.0, float("nan"), float("inf"))] == [1, 1, 1]
        assert [c.emit(histogram, value) for value in (float("nan"), float("inf"), -1.0)] == [0, 1, 1]
        assert (c.stats()["rejected"], c.stats()["in_ring"]) == (4, 6)
        c.say("close")
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        assert reader.snapshot().producers["engine"].rejected == 4


def test_a_scope_is_timed_in_the_unit_of_its_metric(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c, Reader(namespace, ephemeral=True) as reader:
        c.open(namespace)
        for name, unit, a_second in (("a", "-", 1), ("b_ms", "-", 1e3), ("c", "us", 1e6), ("d_seconds", "ns", 0)):
            if not a_second:
                assert c.say("add", "histogram", name, unit, "-", "-", "-").split()[0] == "-3"
                continue
            c.say("time", c.add("histogram", name, unit=unit), 20)
            reader.poll()
            assert 0.020 <= reader.snapshot().histogram(name).sum / a_second < 10
        handle = c.add("histogram", "size_bytes")
        c.say("time", handle, 1)
        assert c.stats()["rejected"] == 1
        c.say("close")
        reader.poll()


def test_a_forked_child_has_a_ring_of_its_own_and_leaves_its_parents_alone(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c, running_reader(namespace):
        c.open(namespace, capacity=16)
        counter = c.add("counter", "c", labels="who", values="both")
        assert c.emit(counter, 1.0, 3) == 3
        child = int(c.say("fork"))
        assert child != c.pid
        assert c.stats()["attempted"] == 0
        late = c.add("counter", "c", labels="who", values="child")
        assert (c.emit(counter, 1.0, 5), c.emit(late, 1.0, 7)) == (5, 7)
        names = list(segment_names(namespace))
        headers = [attach(name).header for name in names]
        assert {header.pid for header in headers} == {child, c.pid}
        c.end_child()
        assert c.emit(counter, 1.0, 2) == 2
        assert c.stats()["attempted"] == 5
        c.say("close")
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("c_total", who="both") == 10
        assert snapshot.value("c_total", who="child") == 7
        assert snapshot.producers["engine"].holds


def test_a_child_that_emits_nothing_keeps_no_lock_of_its_parents(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c:
        c.open(namespace)
        c.emit(c.add("counter", "c"), 1.0)
        c.say("fork")
        segment = attach(next(segment_names(namespace)))
        assert segment.alive()
        c.process.send_signal(9)
        c.process.wait(10)
        assert not segment.alive()
        c.end_child()
        segment.close()
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            assert reader.snapshot().value("c_total") == 1
        c.process.returncode = 0


def test_a_ring_that_somebody_removed_is_replaced(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c, Reader(namespace, ephemeral=True) as reader:
        c.open(namespace, capacity=16)
        counter = c.add("counter", "c")
        assert c.emit(counter, 1.0, 10) == 10
        reader.poll()
        (name,) = segment_names(namespace)
        (SHM / name).unlink()
        assert c.emit(counter, 1.0, 100) == 100
        (fresh,) = segment_names(namespace)
        assert fresh != name
        segment = attach(fresh)
        assert segment.mapping.load(segment.header.producer_offset + layout.REOPENED) == 1
        segment.close()
        reader.poll()
        c.say("close")
        reader.poll()
        assert reader.snapshot().value("c_total") == 110


def test_a_catalogue_grows(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c, Reader(namespace, ephemeral=True) as reader:
        c.open(namespace)
        handles = [c.add("counter", "c", labels="n", values=str(n)) for n in range(40)]
        c.add("gauge", "long", help="x" * 16000)
        c.add("gauge", "longer", labels="v", values="y" * 4096)
        assert c.say("add", "gauge", "longest", "-", "-", "v", "y" * 4097, "").split()[0] == "-3"
        assert sum(c.emit(handle, float(n)) for n, handle in enumerate(handles)) == 40
        reader.poll()
        reader.poll()
        assert [reader.snapshot().value("c_total", n=str(n)) for n in range(40)] == list(range(40))
        c.say("close")
        reader.poll()


@pytest.mark.parametrize(("line", "error"), [
    ("counter 1st - - - -", -3), ("counter c parsec - - -", -3), ("counter c_seconds ms - - -", -3),
    ("gauge g - most - -", -3), ("gauge g - all producer x", -3), ("histogram h - - le x", -3),
    ("counter c - - a,a x,y", -3), ("counter c - - __a x", -3), ("counter c - - a x,y", -3),
    ("counter c - - a \xff", -3), ("gauge taken_total - - - -", -5),
])  # fmt: skip
def test_a_definition_that_no_reader_would_take_is_refused(
    namespace: str, c_driver: Path, line: str, error: int
) -> None:  # fmt: skip
    with driver(c_driver) as c:
        c.open(namespace)
        c.add("counter", "taken")
        words = line.replace("\xff", "\udcff")
        c.process.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
        answer, handle = c.say("add", words, "").split()
        assert int(answer) == error
        assert c.emit(int(handle), 1.0, 3) == 0
        assert c.stats()["attempted"] == 0
        c.say("close")
    assert list(segment_names(namespace)) == []


def test_a_producer_that_cannot_be_opened_takes_nothing_and_does_no_harm(namespace: str, c_driver: Path) -> None:
    for words, error in (("a.b x 16", -1), ("a b/c 16", -1), ("a x 17", -2), ("a x 1", -2), ("a x 8589934592", -2)):
        with driver(c_driver) as c:
            assert int(c.say("open", words)) == error
            error_of_add, handle = c.say("add", "counter c - - - -").split()
            assert int(error_of_add) == -10
            assert c.emit(int(handle), 1.0) == 0
            c.say("close")


def test_disabled_by_the_environment_it_opens_no_segment(namespace: str, c_driver: Path) -> None:
    with driver(c_driver, SHMTEL_DISABLED="1") as c:
        c.open(namespace)
        counter = c.add("counter", "c")
        assert c.emit(counter, 1.0, 3) == 0
        assert c.stats()["dropped_no_ring"] == 3
        assert list(segment_names(namespace)) == []
        c.say("close")


def test_disabled_at_compilation_nothing_of_emit_is_left(namespace: str, tmp_path: Path) -> None:
    with driver(compiled(HERE / "driver.c", tmp_path, "-O2", "-DSHMTEL_DISABLE")) as c:
        c.open(namespace)
        assert c.emit(c.add("counter", "c"), 1.0, 3) == 0
        c.say("time", c.add("histogram", "h"), 1)
        assert c.stats()["attempted"] == 0
        assert list(segment_names(namespace)) == []
        c.say("close")


def test_help_and_labels_of_any_text_come_out_as_they_went_in(namespace: str, c_driver: Path) -> None:
    text = 'quote " back \\ tab \t bell \x07 ümlaut 漢字 🙂'
    with driver(c_driver) as c, Reader(namespace, ephemeral=True) as reader:
        c.open(namespace)
        value = text.replace(" ", "_")
        c.emit(c.add("counter", "c", labels="text", values=value, help=text), 1.0)
        (segment,) = map(attach, segment_names(namespace))
        assert definitions(segment) == [metric("counter", "c", text, labels=("text",))]
        segment.close()
        reader.poll()
        assert reader.snapshot().value("c_total", text=value) == 1
        c.say("close")
        reader.poll()


def test_a_producer_that_ends_without_closing_is_folded_as_a_dead_one(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c:
        c.open(namespace)
        c.emit(c.add("counter", "c"), 1.0, 9)
    assert len(list(segment_names(namespace))) == 1
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        assert reader.snapshot().value("c_total") == 9
        assert reader.snapshot().producers["engine"].live == 0
    assert list(segment_names(namespace)) == []


@pytest.mark.parametrize(("given", "mode"), [("", 0o600), ("660", 0o660)])
def test_a_segment_is_its_users_alone_unless_a_mode_says_otherwise(
    namespace: str, c_driver: Path, given: str, mode: int
) -> None:  # fmt: skip
    with driver(c_driver) as c:
        assert c.say("open", "engine", namespace, 16, given) == "0"
        (name,) = segment_names(namespace)
        assert (SHM / name).stat().st_mode & 0o777 == mode
        c.say("close")
