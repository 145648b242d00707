"""Trades that say of themselves what is in each of their fields, and what is stored of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shmtelemetry import Producer, Schema, field
from shmtelemetry.producer import Setup
from shmtelemetry.service.history import History

SYMBOLS = (b"AAPL", b"MSFT", b"GOOG")
SIDES = {0: "buy", 1: "sell"}
DTYPE = np.dtype(
    [
        ("ts", "<u8"),
        ("trade_id", "<u8"),
        ("symbol", "S8"),
        ("side", "u1"),
        ("price", "<f8"),
        ("qty", "<u4"),
        ("strategy", "S12"),
    ]
)
TRADE = Schema(
    DTYPE,
    {
        "ts": field("time", unit="ns"),
        "trade_id": field("attribute"),
        "symbol": field("label"),
        "side": field("label", values=SIDES),
        "price": field("attribute"),
        "qty": field("counter", name="traded_total"),
        "strategy": field("attribute"),
    },
    events=True,
)
BATCH = 32


def trades(begin: int, count: int) -> np.ndarray:
    """Those with these numbers."""
    numbers = np.arange(begin, begin + count, dtype="u8")
    made = np.zeros(count, DTYPE)
    made["ts"], made["trade_id"] = 10**18 + numbers, numbers
    made["symbol"] = np.array(SYMBOLS)[numbers % 3]
    made["side"], made["price"], made["qty"] = numbers % 2, numbers * 0.25, numbers % 5 + 1
    made["strategy"] = [b"strategy-%d" % (number % 7) for number in numbers.tolist()]
    return made


def dictionary(number: int) -> dict[str, Any]:
    """What is shown of one."""
    return {
        "ts": 10**18 + number,
        "trade_id": number,
        "symbol": SYMBOLS[number % 3].decode(),
        "side": SIDES[number % 2],
        "price": number * 0.25,
        "qty": number % 5 + 1,
        "strategy": f"strategy-{number % 7}",
    }


def traded(begin: int, count: int) -> int:
    """The quantity of them together."""
    return int(trades(begin, count)["qty"].sum())


def emit_trades(
    namespace: str, asked: Callable[[], bool], name: str = "engine", capacity: int = 4096, start: int = 0
) -> int:
    """Trades until it is asked to end, as many as are stored in time for none to be let go of; returns how many."""
    setup = Setup(namespace, name, TRADE, capacity, "block", start_position=start)
    with Producer(name, TRADE, setup=setup, timeout=None) as ring:
        count = 0
        while not asked():
            if ring.stats().in_ring > capacity // 2 - BATCH:
                time.sleep(0.0005)
                continue
            assert ring.emit_many(trades(count, BATCH)) == BATCH
            count += BATCH
    return count


def stored_trades(path: Path, producer: str = "engine") -> list[dict[str, Any]]:
    """All that are stored of one producer name, the oldest first, without what the store adds to them."""
    found: list[dict[str, Any]] = []
    before = None
    with History(path) as history:
        while page := history.events(TRADE, before=before, limit=10_000):
            before = page[-1]["_id"]
            assert [trade["_id"] for trade in page] == list(range(page[0]["_id"], before - 1, -1))
            found += [trade for trade in page if trade["_producer"] == producer]
    found.reverse()
    return [{name: value for name, value in trade.items() if name[0] != "_"} for trade in found]
