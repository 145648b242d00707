"""The parts of the demo that can be wrong without a process: profit, risk checks, accounts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("zmq", reason="needs shmtelemetry[demo]")
pytest.importorskip("msgspec", reason="needs shmtelemetry[demo]")

from shmtelemetry.demo.accounts import settle_account, table
from shmtelemetry.demo.messages import Closed, Execution, Order
from shmtelemetry.demo.order_book import BUY, SELL
from shmtelemetry.demo.position import Position
from shmtelemetry.demo.risk_checks import CHECK_NAMES, Account, Checks, Limits
from shmtelemetry.demo.services import Report

sides = st.sampled_from([BUY, SELL])


@given(
    trades=st.lists(st.tuples(sides, st.integers(1, 500), st.integers(90, 110)), max_size=40),
    mark=st.integers(90, 110),
)
def test_profit_is_what_is_held_less_what_was_paid(trades: list[tuple[int, int, int]], mark: int) -> None:
    position = Position()
    for side, quantity, price in trades:
        position.apply(side, quantity, price)
    held = sum(side * quantity for side, quantity, _ in trades)
    paid = sum(side * quantity * price for side, quantity, price in trades)
    assert position.quantity == held
    assert position.realized + position.unrealized(mark) == pytest.approx(held * mark - paid, abs=1e-6)


def test_closing_a_part_keeps_the_average_price() -> None:
    position = Position()
    position.apply(BUY, 100, 10)
    position.apply(BUY, 100, 20)
    position.apply(SELL, 50, 25)
    assert (position.quantity, position.average_price, position.realized) == (150, 15.0, 500.0)


def test_turning_a_position_over_starts_at_the_new_price() -> None:
    position = Position()
    position.apply(SELL, 10, 100)
    position.apply(BUY, 25, 90)
    assert (position.quantity, position.average_price, position.realized) == (15, 90.0, 100.0)


LIMITS = Limits(
    order_quantity=100,
    order_notional_usd=50_000.0,
    price_band_ratio=0.01,
    position_quantity=300,
    gross_exposure_usd=200_000.0,
    orders_per_second=3,
    loss_usd=1_000.0,
)


def order(side: int = BUY, quantity: int = 50, price: int = 10_000, instrument: int = 0) -> Order:
    return Order(1, instrument, side, quantity, price, immediate=True, origin=0)


@pytest.fixture
def account() -> Account:
    account = Account()
    for instrument in range(3):
        account.mark(instrument, 10_000.0)  # 100 USD
    return account


def failing(account: Account, candidate: Order) -> set[str]:
    checks = Checks(account, LIMITS)
    return {name for name in CHECK_NAMES if not getattr(checks, name)(candidate)}


def hold(account: Account, side: int, quantity: int, price: int = 10_000, instrument: int = 0) -> None:
    account.sent(order(side, quantity, price, instrument))
    account.executed(Execution(1, instrument, side, quantity, price))


def test_a_modest_order_passes_every_check(account: Account) -> None:
    assert failing(account, order()) == set()


def test_a_large_order_fails_by_quantity(account: Account) -> None:
    assert failing(account, order(quantity=101)) == {"order_quantity"}


def test_a_dear_order_fails_by_notional(account: Account) -> None:
    account.mark(0, 60_000.0)
    assert failing(account, order(quantity=100, price=60_000)) == {"order_notional"}


@pytest.mark.parametrize("price", [9_899, 10_101])
def test_a_price_away_from_the_market_fails_by_price_band(account: Account, price: int) -> None:
    assert failing(account, order(price=price)) == {"price_band"}


def test_orders_on_their_way_count_towards_the_position_limit(account: Account) -> None:
    hold(account, BUY, 200)
    account.sent(order(BUY, 60))
    assert failing(account, order(BUY, 50)) == {"position_limit"}
    account.closed(Closed(1, 0, BUY, 60))
    assert failing(account, order(BUY, 50)) == set()


def test_an_order_that_makes_a_position_smaller_passes_the_exposure_check(account: Account) -> None:
    for instrument in range(2):
        for _ in range(4):
            hold(account, SELL, 75, instrument=instrument)
    hold(account, SELL, 1_400, instrument=2)  # 140,000 USD more
    assert "gross_exposure" in failing(account, order(SELL, 10, instrument=1))
    assert "gross_exposure" not in failing(account, order(BUY, 10, instrument=1))


def test_an_order_against_one_on_its_way_fails_as_a_self_trade(account: Account) -> None:
    account.sent(order(SELL, 10))
    assert failing(account, order(BUY)) == {"self_trade"}
    assert failing(account, order(SELL)) == set()


def test_nothing_passes_after_too_large_a_loss(account: Account) -> None:
    hold(account, BUY, 200)
    account.mark(0, 9_400.0)  # 6 USD less, 1,200 USD in all
    assert "loss_limit" in failing(account, order(price=9_400))


def test_no_more_orders_pass_in_a_second_than_the_order_rate_allows(account: Account) -> None:
    times = iter([0.0, 0.4, 0.8, 0.9, 1.0, 1.2, 1.3])
    checks = Checks(account, LIMITS, clock=lambda: next(times))
    passed = [checks.order_rate(order()) for _ in range(7)]
    # What was refused was not sent, so only the orders of 0.4 and 0.8 are within a second of the one of 1.2.
    assert passed == [True, True, True, False, False, True, False]


def stats(**changes: Any) -> Any:
    terms = {
        "attempted": 100,
        "coalesced": 3,
        "dropped": {"full": 4, "timeout": 1},
        "overwritten": 0,
        "rejected": 2,
    }
    return SimpleNamespace(**(terms | changes))


def totals(**changes: Any) -> Any:
    return stats(**({"name": "market-data", "consumed": 90, "in_ring": 0, "aborted": 0} | changes))


def test_an_account_holds_when_every_record_is_somewhere() -> None:
    account = settle_account(totals(), Report("market-data", stats(), 100))
    assert account.holds
    assert account.dropped == 5


@pytest.mark.parametrize(
    ("report", "read"),
    [
        (Report("market-data", stats(), 101), totals()),
        (Report("market-data", stats(attempted=99), 100), totals()),
        (Report("market-data", stats(), 100), totals(consumed=89)),
        (Report("market-data", stats(), 100), totals(consumed=91)),
        (None, totals(attempted=101)),
    ],
)
def test_an_account_does_not_hold_when_a_record_is_missing_or_one_too_many(report: Report | None, read: Any) -> None:
    account = settle_account(read, report)
    assert not account.holds
    assert table([account]).splitlines()[1].endswith("NO")


def test_the_account_of_a_killed_producer_is_what_the_reader_found() -> None:
    account = settle_account(totals(attempted=101, aborted=1), None)
    assert (account.attempted, account.aborted, account.holds) == (101, 1, True)


def test_the_table_has_a_column_for_every_term() -> None:
    header, line = table([settle_account(totals(), Report("market-data", stats(), 100))]).splitlines()
    terms = "attempted consumed in_ring coalesced dropped overwritten rejected aborted"
    assert header.split() == ["name", *terms.split(), "holds"]
    assert line.split() == ["market-data", "100", "90", "0", "3", "5", "0", "2", "0", "yes"]
    assert len(header) == len(line)
