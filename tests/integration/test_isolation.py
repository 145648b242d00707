"""A bot, its ingester and its reader share nothing with those of another bot."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from prometheus_client.parser import text_string_to_metric_families as parse_text

from shmtelemetry import Reader
from tests.ingesters import Ingester, ingester
from tests.processes import child, kill, wait_until
from tests.readers import Running, reader

ORDERS = 6000


@contextmanager
def stack(namespace: str, folder: Path) -> Iterator[tuple[Ingester, Running]]:
    """What one bot has: an ingester and a reader, in a folder and a namespace of its own."""
    folder.mkdir()
    with (
        reader(namespace, "--ephemeral", folder=folder) as running,
        ingester("zmq", namespace, folder=folder) as sidecar,
    ):
        yield sidecar, running


@contextmanager
def push(address: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.PUSH) as made:
        made.setsockopt(zmq.SNDHWM, 0)  # all of this bot's messages are to arrive
        made.connect(address)
        yield made


def flood(address: str) -> None:
    """Messages and labels without end."""
    with push(address) as bot:
        bot.setsockopt(zmq.LINGER, 0)
        for number in range(sys.maxsize):
            bot.send_json([f"order_placed:flood-{number}-{item}:1" for item in range(100)])


def samples(running: Running) -> dict[tuple[str, str], float]:
    """(name, symbol) → value, of the metrics that messages made."""
    return {
        (sample.name, sample.labels["symbol"]): sample.value
        for family in parse_text(running.get("/metrics"))
        for sample in family.samples
        if "symbol" in sample.labels and "le" not in sample.labels
    }


@pytest.mark.slow
def test_a_bot_that_floods_and_is_killed_with_all_it_has_leaves_another_ones_figures_exact(
    namespace: str, tmp_path: Path
) -> None:
    one, other = f"{namespace}-a", f"{namespace}-b"
    with stack(one, tmp_path / "a") as (ingester_a, reader_a), stack(other, tmp_path / "b") as (ingester_b, reader_b):
        with child(lambda: flood(ingester_a.address)) as bot_a, push(ingester_b.address) as bot_b:
            wait_until(lambda: ("orders_total", "flood-0-0") in samples(reader_a), "the flood has come")
            ends = [
                lambda: kill(bot_a),
                ingester_a.process.kill,
                lambda: reader_a.process.send_signal(signal.SIGKILL),
                lambda: None,
            ]
            sent = 0
            for end in ends:
                for _ in range(ORDERS // len(ends)):
                    bot_b.send_string("order_placed:AAPL:1")
                    bot_b.send_string("latency:AAPL:0.5")
                    sent += 1
                wait_until(lambda sent=sent: samples(reader_b).get(("orders_total", "AAPL")) == sent, "all are there")
                end()
            assert reader_a.process.wait() == ingester_a.process.wait() == -signal.SIGKILL
            wait_until(lambda: samples(reader_b)["execution_time_ms_count", "AAPL"] == ORDERS, "all are there")
            figures = samples(reader_b)
            assert {symbol for _, symbol in figures} == {"AAPL"}
            assert figures["orders_total", "AAPL"] == ORDERS
            assert figures["execution_time_ms_sum", "AAPL"] == ORDERS / 2
        assert ingester_b.end() == {"items": 2 * ORDERS, "rejected": {}, "overflow": 0, "forwarded": 0, "missing": 0}
        assert reader_b.end(signal.SIGTERM) == 0
    with Reader(one, ephemeral=True) as successor:  # what was killed is folded in, and cleared away
        successor.poll()
