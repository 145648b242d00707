"""Whatever comes as a message: nothing crashes, nothing grows without a bound, and what is refused is counted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("msgpack")
pytest.importorskip("msgspec")
pytest.importorskip("yaml")
pytest.importorskip("zmq")

import msgpack
import zmq

from shmtelemetry import Reader, Telemetry
from shmtelemetry.sources.broker import Forwarder
from shmtelemetry.sources.definitions import parse
from shmtelemetry.sources.inbox import Inbox
from shmtelemetry.sources.messages import is_text
from shmtelemetry.sources.recorder import MAX_BOTS, Recorder

DEFINITIONS = b"""
metrics:
  - {name: orders_total, type: counter, message: order, labels: [symbol]}
  - {name: turnover_total, type: counter, message: order, labels: [symbol], adds: value}
  - {name: latency_ms, type: histogram, message: latency, labels: [symbol, bot_id], unit: seconds}
  - {name: depth, type: gauge}
"""
REASONS = {"syntax", "encoding", "size", "type", "labels", "value", "bot_id"}
MAX_SERIES = 40

words = st.sampled_from(["order", "latency", "depth", "A", "B", "1", "-1", "nan", "1e400", "0.5", ""]) | st.text(
    max_size=5
)
texts = st.lists(words, min_size=1, max_size=4).map(":".join)
numbers = st.integers(-3, 3) | st.floats() | st.integers()
labels = st.lists(words | st.integers(), max_size=3) | st.dictionaries(st.sampled_from(["symbol", "x"]), words)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
objects = st.fixed_dictionaries(
    {},
    optional={
        "type": words | anything,
        "labels": labels | anything,
        "value": numbers | anything,
        "bot_id": words | anything,
        "sequence": st.integers(0, 20) | anything,
        "raw": texts | anything,
        "more": anything,
    },
)
values = st.deferred(lambda: texts | objects | st.lists(texts | objects | anything, max_size=5) | anything)
frames = (
    st.binary(max_size=30)
    | texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | values.map(lambda value: json.dumps(value, default=str).encode())
    | values.map(lambda value: packed(value))
)


def packed(value: Any) -> bytes:
    try:
        whole: bytes = msgpack.packb(value)
    except (OverflowError, ValueError, UnicodeEncodeError):
        return b"\xc1"  # which msgpack never is
    return whole


class Kept:
    """A recorder whose numbers of series and bots are bounded, and an inbox of it."""

    def __init__(self, telemetry: Telemetry, more: bytes = b"") -> None:
        definitions = parse(DEFINITIONS + more)
        self.recorder = Recorder(telemetry, definitions)
        self.recorder.intake._max_series = MAX_SERIES
        self.inbox = Inbox(self.recorder, definitions, "own", None)
        self.taken = 0

    def take(self, frame: bytes) -> int:
        """How many messages were taken or refused."""
        before = self.refused()
        taken = self.inbox.take(frame)
        self.taken += taken
        return taken + self.refused() - before

    def refused(self) -> int:
        return sum(self.recorder.intake.refused.values())


@pytest.fixture
def telemetry(namespace: str) -> Iterator[Telemetry]:
    with Reader(namespace, ephemeral=True), Telemetry("source", namespace) as telemetry:
        yield telemetry


@given(st.lists(frames, max_size=20))
@example([b"[" * 100_000, b'{"raw":' * 100_000, b"\x91" * 100_000, b'{"x":' + b"[" * 100_000, b"\xdd\xff\xff\xff\xff"])
@example(
    [b'{"type":"latency","labels":["\\ud800"]}', b"\x81\xa4type\xa2\xff\xff", b'"\\ud800:1"', b'["order:\\udc00:1"]']
)
@example([b'{"type":"depth","value":1e999}', b'{"type":"depth","sequence":-1}', b'{"type":"depth","sequence":1e40}'])
def test_each_frame_is_taken_or_refused_the_same_with_routes_and_without(
    telemetry: Telemetry, come: list[bytes]
) -> None:
    plain, routed = Kept(telemetry), Kept(telemetry, b"routes: [{to: [ring]}]")
    for frame in come:
        count = plain.take(frame)
        assert count == 1 or not (frame and is_text(frame))
        routed.take(frame)
        assert (plain.taken, plain.recorder.intake.refused) == (routed.taken, routed.recorder.intake.refused)
    for kept in (plain, routed):
        assert set(kept.recorder.intake.refused) <= REASONS
        assert len(kept.recorder.intake._series) <= MAX_SERIES
    assert telemetry.stats().holds


def test_what_is_wrong_in_a_list_is_refused_alone(telemetry: Telemetry) -> None:
    kept = Kept(telemetry)
    assert kept.take(b"\x93" + packed("order:a:1") + b"\xa2\xff\xff" + packed("order:b:1")) == 3
    assert (kept.taken, kept.refused()) == (2, 1)
    routed = Kept(telemetry, b"routes: [{to: [ring]}]")
    unknown = b"\x83" + packed({"type": "depth", "value": 1.0})[1:] + b"\xa1\xff\x01"  # a field that is no UTF-8
    assert (kept.take(unknown), routed.take(unknown)) == (1, 1)
    assert (kept.taken, routed.taken) == (3, 1)


def test_what_json_cannot_say_is_not_handed_on(telemetry: Telemetry) -> None:
    context = zmq.Context()
    with context.socket(zmq.PULL) as sidecar:
        sidecar.bind("inproc://sidecar")
        forwarder = Forwarder(context, "inproc://sidecar", telemetry)
        recorder = Recorder(telemetry, definitions := parse(DEFINITIONS))
        inbox = Inbox(recorder, definitions, "own", forwarder)
        assert inbox.take(packed({"type": "depth", "value": math.inf})) == 0
        assert inbox.take(b"\x83" + packed({"type": "depth", "value": 1.0})[1:] + b"\xa1\xff\x01") == 0
        assert inbox.take(packed({"type": "depth", "value": 1.0})) == 1
        assert recorder.intake.refused == {"value": 2}
        forwarder.close()
    context.term()


def test_bots_and_label_sets_without_end_are_bounded(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shmtelemetry.sources.recorder.MAX_KNOWN", 100)
    kept = Kept(telemetry)
    for number in range(2 * MAX_BOTS):
        message = {"type": "latency", "labels": [str(number)], "bot_id": f"bot-{number}", "sequence": number}
        assert kept.take(json.dumps(message).encode()) == 1
        kept.take(b"latency:%d:1" % (number % 30))
    assert kept.taken == 4 * MAX_BOTS
    bots = kept.recorder._bots
    assert len(bots) <= MAX_BOTS + 1
    assert sum(len(bot.known) for bot in bots.values()) <= 100
    assert len(kept.recorder.intake._series) == MAX_SERIES
