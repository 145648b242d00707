"""Coverage-guided fuzzing of messages over ZeroMQ: an input is a frame.

Three take it: an ingester, one that has routes, and a broker with one behind it. Wanted: each message is taken, or
refused by a reason, and all three agree; bots and series stay within their bounds, which are small here so that they
are reached.
"""

from collections import Counter

import atheris
import msgspec
import zmq
from harness import fuzz, telemetry

with atheris.instrument_imports(include=["shmtelemetry.sources"]):
    from shmtelemetry import Telemetry
    from shmtelemetry.sources import recorder
    from shmtelemetry.sources.broker import Forwarder
    from shmtelemetry.sources.definitions import parse
    from shmtelemetry.sources.inbox import Inbox
    from shmtelemetry.sources.messages import is_text
    from shmtelemetry.sources.recorder import Recorder

METRICS = b"""
metrics:
  - {name: orders_total, type: counter, message: order, labels: [symbol]}
  - {name: turnover_total, type: counter, message: order, labels: [symbol], adds: value}
  - {name: latency_ms, type: histogram, message: latency, labels: [symbol, bot_id], unit: seconds}
  - {name: depth, type: gauge}
"""
PLAIN, ROUTED = parse(METRICS), parse(METRICS + b"routes: [{to: [ring]}]")
REASONS = {"syntax", "encoding", "type", "labels", "value", "bot_id"}
BOUND = 8
ADDRESS = "inproc://sidecar"

recorder.MAX_BOTS = recorder.MAX_KNOWN = BOUND
context = zmq.Context()
sidecar = context.socket(zmq.PULL)
sidecar.bind(ADDRESS)


class Ingester:
    """One that has taken nothing yet."""

    def __init__(self, telemetry: Telemetry, definitions=PLAIN, forwarder=None) -> None:
        self.recorder = Recorder(telemetry, definitions)
        self.recorder.intake._max_series = BOUND
        self.inbox = Inbox(self.recorder, definitions, "own", forwarder)
        self.refused = self.recorder.intake.refused

    def check(self) -> None:
        assert self.refused.keys() <= REASONS
        assert len(self.recorder.intake._series) <= BOUND
        assert len(self.recorder._bots) <= BOUND + 1
        assert sum(len(bot.known) for bot in self.recorder._bots.values()) <= BOUND


def forwarded(frame: bytes, made: Telemetry) -> tuple[int, Counter, int]:
    """What a broker and who is behind it make of a frame: (how many were taken in the end, refusals, and how many of
    these since JSON has no such number)."""
    forwarder = Forwarder(context, ADDRESS, made)
    broker, far = Ingester(made, forwarder=forwarder), Ingester(made)
    handed, taken = broker.inbox.take(frame), 0
    for _ in range(handed):
        taken += far.inbox.take(sidecar.recv(zmq.NOBLOCK))
    forwarder.close()
    assert not sidecar.poll(0)
    assert far.recorder.missing == 0
    broker.check()
    far.check()
    return taken, Counter(broker.refused) + Counter(far.refused), broker.refused.get("value", 0)


def least(frame: bytes) -> int:
    """How many messages a frame has at least; an envelope may have none."""
    if not frame or is_text(frame):
        return 1
    decode = msgspec.msgpack.decode if frame[0] >= 0x80 else msgspec.json.decode
    try:
        whole = decode(frame)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return 1
    items = whole if isinstance(whole, list) else [whole]
    return sum(not (isinstance(item, dict) and item.get("raw") == []) for item in items)


def take(frame: bytes) -> None:
    with telemetry() as made:
        plain, routed = Ingester(made), Ingester(made, ROUTED)
        taken = plain.inbox.take(frame)
        assert taken + sum(plain.refused.values()) >= least(frame)
        assert routed.inbox.take(frame) == taken
        assert routed.refused == plain.refused
        beyond, refused, numbers = forwarded(frame, made)
        assert beyond + refused.total() == taken + sum(plain.refused.values())
        assert numbers or (beyond, refused) == (taken, plain.refused)
        plain.check()
        routed.check()


fuzz(take)
