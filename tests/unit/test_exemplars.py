"""Exemplars where they are emitted: what is taken, what is refused, and where it lies."""

from __future__ import annotations

import logging
import signal
from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shmtelemetry import Consumer, Reader, Telemetry, layout
from shmtelemetry._instruments import Counter, Histogram
from tests.catalogue import places
from tests.processes import wait_until

BOUNDS = (1.0, 2.0)
ODD = 'ü"\\\n{}'


@pytest.fixture
def tel(namespace: str) -> Iterator[Telemetry]:
    with Telemetry("bot", namespace, capacity=64) as telemetry:
        yield telemetry
    with Consumer("bot", namespace) as consumer:
        consumer.read()


@pytest.fixture
def histogram(tel: Telemetry) -> Histogram:
    return tel.histogram("h", buckets=BOUNDS)


@pytest.fixture
def counter(tel: Telemetry) -> Counter:
    return tel.counter("c")


def one(telemetry: Telemetry) -> tuple[float, dict[str, str]]:
    ((_, _, value, labels),) = places(telemetry._producer.segment)
    return value, labels


NAMED = {"exemplar": "abc"}
FORMS: dict[str, Callable[[Any], bool]] = {
    "keyword": lambda emit: emit(0.5, exemplar="abc"),
    "position": lambda emit: emit(0.5, "abc"),
    "unpacked": lambda emit: emit(*[0.5], **NAMED),
    "an integer's value": lambda emit: emit(1, exemplar="abc"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["emit", "observe", "inc"])
def test_every_form_of_call_takes_an_exemplar(tel: Telemetry, form: str, name: str) -> None:
    handle = tel.counter("c") if name == "inc" else tel.histogram("h", buckets=BOUNDS)
    assert FORMS[form](getattr(handle, name)) is True
    assert one(tel)[1] == {"trace_id": "abc"}


def test_a_method_that_somebody_keeps_takes_one_too(tel: Telemetry, histogram: Histogram, counter: Counter) -> None:
    emit, inc = histogram.emit, counter.inc
    assert emit(0.5)
    assert inc()
    assert inc(2)
    assert inc(amount=2.0)
    assert emit(value=0.5)  # type: ignore[call-arg]
    assert places(tel._producer.segment) == []
    assert emit(0.5, exemplar="abc")
    assert inc(exemplar="def")
    assert [(value, labels["trace_id"]) for _, _, value, labels in places(tel._producer.segment)] == [
        (0.5, "abc"),
        (1.0, "def"),
    ]


def test_wrong_calls_are_refused_as_python_refuses_them(histogram: Histogram, counter: Counter) -> None:
    wrong: list[Callable[[], Any]] = [
        lambda: histogram.emit(),  # type: ignore[call-arg]
        lambda: histogram.emit(1.0, "a", "b"),  # type: ignore[call-arg]
        lambda: histogram.emit(1.0, exemplars="a"),  # type: ignore[call-arg]
        lambda: counter.emit(),  # type: ignore[call-arg]
        lambda: counter.inc(1.0, "a", "b"),  # type: ignore[call-arg]
        lambda: Histogram.emit(counter, 1.0),  # type: ignore[arg-type]
        lambda: Histogram.emit(1.0),  # type: ignore[call-arg, arg-type]
    ]
    for call in wrong:
        with pytest.raises(TypeError):
            call()


def test_a_gauge_has_none(tel: Telemetry) -> None:
    with pytest.raises(TypeError):
        tel.gauge("g").set(1.0, exemplar="a")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("exemplar", "labels"),
    [
        ("4bf92f3577b34da6", {"trace_id": "4bf92f3577b34da6"}),
        (ODD, {"trace_id": ODD}),
        ({"trace_id": "a", "span_id": "b"}, {"trace_id": "a", "span_id": "b"}),
        (ChainMap({"a": ODD}, {"_b": ""}), {"a": ODD, "_b": ""}),
        ("x" * 120, {"trace_id": "x" * 120}),
        ("𝄞" * 120, {"trace_id": "𝄞" * 120}),
        ({"a": "𝄞" * 127}, {"a": "𝄞" * 127}),
        (dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "𝄞"), None),
    ],
)
def test_what_is_taken_lies_in_the_segment(tel: Telemetry, histogram: Histogram, exemplar: Any, labels: Any) -> None:
    assert histogram.emit(0.5, exemplar=exemplar)
    assert one(tel) == (0.5, labels if labels is not None else exemplar)


@pytest.mark.parametrize("exemplar", [None, "", {}])
def test_an_empty_one_is_none(tel: Telemetry, histogram: Histogram, exemplar: Any) -> None:
    assert histogram.emit(0.5, exemplar=exemplar)
    assert places(tel._producer.segment) == []
    assert tel.stats().in_ring == 1


class Broken(ChainMap[str, str]):
    def __iter__(self) -> Any:
        raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("exemplar", "error"),
    [
        (5, TypeError), (b"abc", TypeError), ([("a", "b")], TypeError), (Broken(), RuntimeError),
        ({"a": 5}, TypeError), ({5: "a"}, TypeError), ({"a": None}, TypeError),
        ({"": "a"}, ValueError), ({"1a": "b"}, ValueError), ({"__a": "b"}, ValueError), ({"a-b": "c"}, ValueError),
        ({"ü": "a"}, ValueError), ({"a\0": "b"}, ValueError),
        ("x" * 121, ValueError), ({"a": "x" * 128}, ValueError), ({"a": "x" * 64, "b": "y" * 63}, ValueError),
        ("\ud800", ValueError), ({"a": "\ud800"}, ValueError),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["histogram", "counter"])
def test_what_cannot_be_is_refused_and_counted(
    tel: Telemetry, kind: str, exemplar: Any, error: type[Exception]
) -> None:
    handle = getattr(tel, kind)("x")
    with pytest.raises(error):
        handle.emit(0.5, exemplar=exemplar)
    stats = tel.stats()
    assert (stats.attempted, stats.rejected, stats.in_ring) == (1, 1, 0)
    assert places(tel._producer.segment) == []


@pytest.mark.parametrize(("kind", "value"), [("histogram", float("nan")), ("counter", -1.0), ("counter", float("inf"))])
def test_a_value_that_is_refused_has_no_exemplar(tel: Telemetry, kind: str, value: float) -> None:
    with pytest.raises(ValueError, match="take"):
        getattr(tel, kind)("x").emit(value, exemplar="a")
    assert (tel.stats().rejected, places(tel._producer.segment)) == (1, [])


def test_each_bucket_has_a_place_of_its_own_and_keeps_the_newest(tel: Telemetry, histogram: Histogram) -> None:
    for turn in range(5):
        for value in (0.5, 1.0, 1.5, 2.5, float("inf")):
            assert histogram.emit(value, exemplar=f"{turn}-{value}")
    kept = {value: labels["trace_id"] for _, _, value, labels in places(tel._producer.segment)}
    assert kept == {1.0: "4-1.0", 1.5: "4-1.5", float("inf"): "4-inf"}


def test_an_observation_that_a_full_ring_lost_has_no_exemplar(tel: Telemetry, histogram: Histogram) -> None:
    counter = tel.counter("c")
    accepted = [histogram.emit(0.5, exemplar=str(turn)) for turn in range(70)]
    assert accepted == [True] * 64 + [False] * 6
    assert one(tel)[1] == {"trace_id": "63"}
    assert counter.emit(1.0, exemplar="kept in its cell")
    assert places(tel._producer.segment)[-1][3] == {"trace_id": "kept in its cell"}


def test_longer_labels_get_a_larger_place(tel: Telemetry, counter: Counter) -> None:
    for exemplar in ("x", "x" * 100, "x", "𝄞" * 120, "y" * 100, "last"):
        assert counter.inc(1.0, exemplar)
    found = places(tel._producer.segment)
    assert [room for _, room, _, _ in found] == list(layout.EXEMPLAR_ROOMS)
    assert found[-1][3] == {"trace_id": "last"}


def test_places_never_fill_the_catalogue(
    tel: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    family = tel.counter("c", labels=("n",))
    monkeypatch.setattr(layout, "MAX_CATALOGUE", 8192)
    with caplog.at_level(logging.WARNING):
        assert all(family.labels(number).inc(1.0, str(number)) for number in range(30))
    assert 10 < len(places(tel._producer.segment)) < 25
    assert len(tel._producer.setup.catalogue) > 4096
    assert len(caplog.messages) == 1
    assert "not all exemplars are kept" in caplog.text


def test_a_full_memory_costs_exemplars_and_nothing_else(
    tel: Telemetry, histogram: Histogram, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tel._producer.segment, "append_catalogue", no_room)
    assert histogram.emit(0.5, exemplar="a")
    assert histogram.emit(0.5, exemplar="a")
    assert places(tel._producer.segment) == []
    assert len(caplog.messages) == 1
    assert tel.stats().in_ring == 2


def test_a_closed_producer_and_a_disabled_one_take_none(
    namespace: str, monkeypatch: pytest.MonkeyPatch, tel: Telemetry, histogram: Histogram
) -> None:
    tel.close()
    assert histogram.emit(0.5, exemplar="a") is False
    monkeypatch.setenv("SHMTEL_DISABLED", "1")
    with Telemetry("off", namespace) as off:
        assert off.counter("c").inc(1.0, "a") is False
        with pytest.raises(TypeError):
            off.counter("c").inc(1.0, 5)  # type: ignore[arg-type]


def test_a_signal_handler_may_emit_one_in_the_middle_of_anything(namespace: str) -> None:
    handled = 0

    def handler(*_: Any) -> None:
        nonlocal handled
        handled += 1
        assert family.labels("handler").emit(0.5 + handled % 3, exemplar=f"h{handled}")
        assert telemetry.counter("c").inc(1.0, f"h{handled}")

    before = signal.signal(signal.SIGALRM, handler)
    with Telemetry("p", namespace, capacity=2**16) as telemetry, Reader(namespace, ephemeral=True) as reader:
        family = telemetry.histogram("h", labels=("n",), buckets=BOUNDS)
        telemetry.counter("c"), family.labels("handler")
        turn = 0
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)

            def goes_on() -> bool:
                nonlocal turn
                turn += 1
                assert family.labels(turn % 500).emit(turn % 3, exemplar=f"m{turn}")
                assert telemetry.counter("c").inc(1.0, {"trace_id": f"m{turn}"})
                return handled >= 200 and turn >= 1500

            wait_until(goes_on, "there were enough signals")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("c_total") == handled + turn
        (newest,) = snapshot.families["c_total"].exemplars
        assert newest.labels[0][1] in (f"m{turn}", f"h{handled}")
        exemplars = snapshot.families["h"].exemplars
        assert {exemplar.bucket for exemplar in exemplars} == {0, 1, 2} or len(exemplars) > 500
        assert all(exemplar.value <= (*BOUNDS, float("inf"))[exemplar.bucket] for exemplar in exemplars)
