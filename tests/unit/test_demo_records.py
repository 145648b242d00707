"""What the demo's services record of their order flow is that order flow: the four of them and the exchange, in one
process."""

from __future__ import annotations

import math
import select
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zmq", reason="needs shmtelemetry[demo]")
pytest.importorskip("msgspec", reason="needs shmtelemetry[demo]")

from shmtelemetry import Consumer, Telemetry, trading
from shmtelemetry.demo.bots import BOT_OF, PAUSED, RUNNING, STOPPED, Supervision
from shmtelemetry.demo.exchange import Exchange
from shmtelemetry.demo.exchange_server import Server
from shmtelemetry.demo.execution_engine import ExecutionEngine
from shmtelemetry.demo.feed import Feed
from shmtelemetry.demo.market_data import MarketData
from shmtelemetry.demo.messages import Closed, Execution, ExecutionBatch, MarketBatch, Order, OrderBatch, Trade
from shmtelemetry.demo.model import write_model
from shmtelemetry.demo.order_entry import OrderEntry
from shmtelemetry.demo.order_flow import INSTRUMENTS, TICK_USD, OrderFlow
from shmtelemetry.demo.order_link import BUFFER_ORDERS, OrderLink
from shmtelemetry.demo.risk_manager import RiskManager
from shmtelemetry.demo.signal_bridge import SignalBridge

BATCHES, RATE = 600, 12_000
RINGS = ("ticks", "orders", "trades", "strategies", "samples")
SIDES = {1: 0, -1: 1}  # of the order book → of the records


@dataclass
class Run:
    """What the services said to each other, and all that they recorded."""

    tel: Telemetry
    services: list[MarketData | SignalBridge | RiskManager | ExecutionEngine]
    emits: int = 0
    market: list[Trade] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    refused: int = 0
    records: dict[str, np.ndarray] = field(default_factory=dict)


@contextmanager
def exchange() -> Iterator[Server]:
    """In a thread, at ports of its own."""
    server, ended = Server(Exchange(OrderFlow(7)), RATE), threading.Event()
    thread = threading.Thread(target=server.run, args=(ended.is_set,))
    thread.start()
    try:
        yield server
    finally:
        ended.set()
        thread.join()
        server.close()


@pytest.fixture
def run(namespace: str, tmp_path: Path) -> Iterator[Run]:
    write_model(tmp_path / "model.npz")
    with Telemetry("demo", namespace) as tel, exchange() as there:
        trading.use(tel)
        feed, entry = Feed(there.feed.port), OrderEntry(there.orders.port)
        try:
            services = MarketData(), SignalBridge(tmp_path / "model.npz"), RiskManager(), ExecutionEngine(entry)
            run = Run(tel, [*services])
            drive(run, feed, *services, namespace)
            run.emits = feed.emits + entry.emits + sum(service.emits for service in services)
            yield run
        finally:
            feed.close()
            entry.close()
            trading.use(None)
            with Consumer("demo", namespace) as rest:
                rest.read()


def drive(
    run: Run,
    feed: Feed,
    market: MarketData,
    bridge: SignalBridge,
    risk: RiskManager,
    engine: ExecutionEngine,
    namespace: str,
) -> None:
    for ring, _ in (pair for service in run.services for pair in service.rings()):
        ring.stats()
    read: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    consumers = {name: Consumer(f"demo-{name}", namespace) for name in RINGS}
    for news in islice(batches(feed, market), BATCHES):
        sent = risk.handle(bridge.handle(news))
        answer = engine.handle(sent)
        risk.settle(answer)
        run.market += news.trades
        run.orders += sent.orders
        run.executions += answer.executions
        run.closed += answer.closed
        run.refused += answer.refused
        for name, consumer in consumers.items():
            read[name].append(consumer.read())
    risk.stop()
    for name, consumer in consumers.items():
        run.records[name] = np.concatenate([*read[name], consumer.read()])
        consumer.close()


def batches(feed: Feed, market: MarketData) -> Iterator[MarketBatch]:
    while True:
        yield from map(market.handle, feed.receive())
        select.select(feed.descriptors(), [], [], 1.0)


def test_the_services_count_what_they_emit_into_every_ring(run: Run) -> None:
    assert run.emits == run.tel.stats().attempted
    for ring, emits in (pair for service in run.services for pair in service.rings()):
        assert ring.stats().attempted == emits > 0
        assert len(run.records[ring.setup.name.removeprefix("demo-")]) == emits


def test_every_execution_is_a_trade_with_its_bot_price_and_quantity(run: Run) -> None:
    trades = run.records["trades"]
    assert len(trades) == len(run.executions) > 100
    for record, execution in zip(trades, run.executions, strict=True):
        bot = BOT_OF[execution.instrument]
        assert record["symbol"] == INSTRUMENTS[execution.instrument].symbol.encode()
        assert (record["bot_id"], record["strategy"]) == (bot.bot_id.encode(), bot.strategy.encode())
        assert record["order_id"] == str(execution.order_id).encode()
        assert (record["side"], record["quantity"]) == (SIDES[execution.side], execution.quantity)
        assert record["price"] == execution.price * TICK_USD
        assert abs(record["reference_price"] - record["price"]) < 1.0
    assert len(np.unique(trades["trade_id"])) == len(trades)


def test_every_order_is_accepted_or_rejected_and_ends_with_what_traded(run: Run) -> None:
    told: defaultdict[bytes, list[np.void]] = defaultdict(list)
    for record in run.records["orders"]:
        told[record["order_id"]].append(record)
    traded: defaultdict[int, int] = defaultdict(int)
    for execution in run.executions:
        traded[execution.order_id] += execution.quantity
    unfilled = {closed.order_id: closed.unfilled for closed in run.closed}
    statuses = {name: code for code, name in trading.schemas.ORDER_STATUSES.items()}
    rejected = 0
    assert len(run.orders) > 100
    for order in run.orders:
        first, *rest = told.pop(str(order.order_id).encode())
        assert (first["quantity"], first["price"], first["side"]) == (
            order.quantity, order.price * TICK_USD, SIDES[order.side],
        )  # fmt: skip
        if first["status"] == statuses["rejected"]:
            rejected += 1
            assert not rest
            continue
        assert first["status"] == statuses["accepted"]
        assert (first["filled_quantity"], len(rest)) == (0.0, int(order.order_id in unfilled))
        for last in rest:
            done = "expired" if unfilled[order.order_id] else "filled"
            assert (last["status"], last["filled_quantity"]) == (statuses[done], traded[order.order_id])
            assert last["latency_ns"] >= first["latency_ns"] > 0
    assert not told
    assert rejected == run.refused


def test_the_last_state_of_each_strategy_is_what_its_trades_come_to(run: Run) -> None:
    trades, states = run.records["trades"], run.records["strategies"]
    for instrument, bot in zip(INSTRUMENTS, BOT_OF, strict=True):
        mine = trades[trades["symbol"] == instrument.symbol.encode()]
        signed = np.where(mine["side"] == 0, 1.0, -1.0) * mine["quantity"]
        last = states[states["symbol"] == instrument.symbol.encode()][-1]
        assert (last["bot_id"], last["strategy"]) == (bot.bot_id.encode(), bot.strategy.encode())
        assert last["position"] == signed.sum()
        earned = last["position"] * last["mark_price"] - (signed * mine["price"]).sum()
        assert last["realized_pnl"] + last["unrealized_pnl"] == pytest.approx(earned, abs=1e-6)
        assert last["status"] == 0  # the bots stop with the flow
    assert {0, 2} <= set(states["status"]) <= {0, 1, 2}


def test_ticks_tell_of_every_trade_on_the_market_and_end_at_its_last_price(run: Run) -> None:
    ticks = run.records["ticks"]
    for index, instrument in enumerate(INSTRUMENTS):
        market = [trade for trade in run.market if trade.instrument == index]
        mine = ticks[ticks["symbol"] == instrument.symbol.encode()]
        assert (mine["ask"] > mine["bid"]).all()
        told = int(mine["trades"].sum())
        assert len(market) - 3 <= told <= len(market)  # those since the last change of the quote are not told yet
        assert mine["volume"].sum() == sum(trade.quantity for trade in market[:told])
        assert mine[-1]["last_price"] == market[told - 1].price * TICK_USD


def test_the_system_samples_add_up_to_the_orders(run: Run) -> None:
    last = run.records["samples"][-1]
    assert last["orders_produced"] == len(run.orders)
    assert last["orders_dropped"] == run.refused
    assert last["orders_consumed"] == len(run.orders) - run.refused
    assert (last["batch_count"], last["network_errors"]) == (BATCHES, 0)
    assert (last["buffer_size"], last["buffer_capacity"]) == (0, BUFFER_ORDERS)


def test_a_bot_pauses_at_its_drawdown_resumes_and_stops_for_good_at_its_loss() -> None:
    bot = Supervision(drawdown_usd=100.0, pause_seconds=5.0, loss_usd=1_000.0)
    assert not bot.judge(50.0, now=0.0)
    assert not bot.judge(-49.0, now=1.0)
    assert bot.judge(-51.0, now=2.0)
    assert bot.status == PAUSED
    assert not bot.judge(500.0, now=6.9)  # a pause lasts, whatever the market does
    assert bot.judge(-80.0, now=7.0)
    assert bot.status == RUNNING
    assert not bot.judge(-180.0, now=8.0)  # the peak is what it resumed from
    assert bot.judge(-1_000.0, now=9.0)
    assert bot.status == STOPPED
    assert not bot.judge(10_000.0, now=100.0)
    assert bot.status == STOPPED
    bot.start()
    assert not bot.judge(-2_000.0, now=101.0)  # what was lost before is behind it
    assert bot.status == RUNNING
    assert bot.judge(-3_000.0, now=102.0)
    assert bot.status == STOPPED


def link_at(*times: int) -> OrderLink:
    moments = iter(times)
    return OrderLink(clock=lambda: next(moments))


def batch(sequence: int, orders: int) -> OrderBatch:
    return OrderBatch(sequence, [], [Order(number, 0, 1, 25, 100, True, 0) for number in range(orders)])


def test_a_link_tells_latencies_of_what_was_answered_and_what_is_on_its_way() -> None:
    second = 1_000_000_000
    link = link_at(0, 10, 20, 110, 320, second, 2 * second)
    link.sent(batch(1, 2))
    link.sent(batch(2, 4))
    link.answered(ExecutionBatch(1, 0, [], []))
    link.answered(ExecutionBatch(2, 1, [], []))
    _, produced, consumed, dropped, waiting, capacity, throughput, mean, p95, p99, lost, batches = link.sample()
    assert (produced, consumed, dropped, batches, lost) == (6, 5, 1, 2, 0)
    assert (waiting, capacity, throughput) == (0, BUFFER_ORDERS, 5.0)
    assert (mean, p95, p99) == (200.0, 300.0, 300.0)
    _, *_, throughput, mean, p95, p99, _, _ = link.sample()
    assert throughput == 0.0
    assert all(math.isnan(latency) for latency in (mean, p95, p99))


def test_the_buffer_holds_the_orders_on_their_way_and_no_more_than_fit() -> None:
    link = link_at(0, 1, 2, 1_000_000_000, 3_000_000_000)
    link.sent(batch(1, 2))
    assert link.used == 2
    link.sent(batch(2, BUFFER_ORDERS))
    assert link.sample()[4] == link.used == BUFFER_ORDERS


def test_an_answer_that_never_came_is_counted_by_the_next_one() -> None:
    link = link_at(0, 1, 2, 3, 1_000_000_003)
    link.sent(batch(1, 2))
    link.sent(batch(2, 1))
    link.answered(ExecutionBatch(2, 0, [], []))
    _, produced, consumed, *_, lost, batches = link.sample()
    assert (produced, consumed, lost, batches) == (3, 1, 1, 2)
