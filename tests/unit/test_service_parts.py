"""The service's parts by themselves: slots, sessions, the log, settings, subscriptions, what follows from trades."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from shmtelemetry.logs import JsonLines, Log
from shmtelemetry.service import logs
from shmtelemetry.service.messages import Subscription, read
from shmtelemetry.service.sessions import COOKIE, LASTS, holds, session
from shmtelemetry.service.settings import ServiceSettings
from shmtelemetry.service.slots import Slots
from shmtelemetry.service.trades import slippage
from tests.processes import child, in_child, wait_until

# ---- slots ----


def take_all(path: Path, limit: int) -> int:
    slots, taken = Slots(path, limit), 0
    while slots.take() is not None:
        taken += 1
    return taken


def test_slots_are_bounded_over_all_processes_and_free_when_one_ends(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "slots", 10)
    mine = [slots.take() for _ in range(4)]
    assert len(set(mine)) == 4
    assert in_child(lambda: take_all(tmp_path / "slots", 10)) == 6
    assert in_child(lambda: take_all(tmp_path / "slots", 10)) == 6  # the other child's are free again
    slots.give_back(mine[0] or 0)
    assert in_child(lambda: take_all(tmp_path / "slots", 10)) == 7
    slots.close()


def test_slots_are_free_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "slots"

    def hold() -> None:
        take_all(path, 5)
        (tmp_path / "held").touch()
        os.read(os.pipe()[0], 1)

    with child(hold):
        wait_until((tmp_path / "held").exists, "the child holds all slots")
        assert Slots(path, 5).take() is None
    assert take_all(path, 5) == 5


# ---- sessions ----


def test_a_session_holds_until_its_end_and_for_its_token_alone() -> None:
    cookie = f"other=1; {COOKIE}={session(b'token', 1000.0)}; more"
    assert holds(b"token", cookie, 1000.0 + LASTS - 1)
    assert not holds(b"token", cookie, 1000.0 + LASTS)
    assert not holds(b"another", cookie, 1000.0)


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "=;=;",
        COOKIE,
        f"{COOKIE}=",
        f"{COOKIE}=.",
        f"{COOKIE}=99999999999.{'0' * 64}",
        f"{COOKIE}=²³.ü",
        f"{COOKIE}=-1.x",
        f"{COOKIE}={'9' * 5000}.x",
    ],
)
def test_whatever_else_a_cookie_says_is_no_session(cookie: str) -> None:
    assert not holds(b"token", cookie, 0.0)


def test_a_session_cannot_be_made_longer() -> None:
    until, _, signature = session(b"token", 1000.0).partition(".")
    assert not holds(b"token", f"{COOKIE}={int(until) + 1}.{signature}", 1000.0)


# ---- the log ----


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    path = tmp_path / "log"
    Log("info", "json", "shmtel-serve", "bot-a").begin(logs.SharedFile(path))
    yield path
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_of_the_log_is_one_json_object_whatever_it_says(log: Path) -> None:
    logger = logging.getLogger("shmtelemetry.test")
    logger.info("two\nlines of %s", "ümlaut \x1b[31m")
    logger.debug("not said")
    try:
        raise ValueError("why\nnot")
    except ValueError:
        logger.exception("failed", extra={"order": 7, "path": Path("x")})
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["message"] for line in lines] == ["two\nlines of ümlaut \x1b[31m", "failed"]
    assert "\x1b" not in log.read_text()
    assert (lines[1]["labels.order"], lines[1]["labels.path"]) == ("7", "x")
    assert "ValueError: why" in lines[1]["error.stack_trace"]


def test_the_newest_lines_come_first_of_the_level_asked_for(log: Path) -> None:
    logger = logging.getLogger("shmtelemetry.test")
    for number in range(5):
        logger.log(logging.INFO if number % 2 else logging.ERROR, "line %d", number)
    with log.open("ab") as file:
        file.write(b'{"no": "line"}\nnot json\n')
    said = [line["message"] for line in logs.recent(log, 3)]
    assert said == ["line 4", "line 3", "line 2"]
    assert [line["message"] for line in logs.recent(log, 10, "error")] == ["line 4", "line 2", "line 0"]


def test_a_full_file_is_begun_anew_by_all_who_write_and_the_one_before_is_kept(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 4096)
    logger = logging.getLogger("shmtelemetry.test")
    other = logs.SharedFile(log)
    other.setFormatter(JsonLines("other", "bot-a"))
    for number in range(100):
        logger.info("line %d", number)
        other.handle(logging.makeLogRecord({"msg": f"other {number}", "levelname": "INFO", "name": "other"}))
    other.close()
    assert log.stat().st_size < 8192
    assert log.with_name("log.1").exists()
    newest = [line["message"] for line in logs.recent(log, 20)]
    assert newest == [f"{who} {number}" for number in range(99, 89, -1) for who in ("other", "line")]


def test_there_need_be_no_log_yet(tmp_path: Path) -> None:
    assert logs.recent(tmp_path / "none", 10) == []


# ---- settings ----


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("interval", 0.0, "0.001 to 60 seconds"),
        ("interval", 61.0, "0.001 to 60 seconds"),
        ("interval", math.nan, "0.001 to 60 seconds"),
        ("ws_heartbeat_interval", math.inf, "more than 0 seconds"),
        ("ws_max_connections", 0, "1 to 65,536"),
        ("ws_message_queue_size", -1, "1 to 1,000,000"),
        ("cors_origins", ("*",), "scheme://host"),
        ("cors_origins", ("http://here/path",), "scheme://host"),
        ("cors_origins", ("ftp://here",), "scheme://host"),
        ("cors_origins", ("http://user@here",), "scheme://host"),
        ("cors_origins", ("http://here:x",), "scheme://host"),
        ("cors_origins", ("null",), "scheme://host"),
    ],
)
def test_settings_that_cannot_be_are_refused(field: str, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ServiceSettings(**{field: value})  # type: ignore[arg-type]


# ---- subscriptions ----


def test_a_subscription_is_what_was_asked_for_last() -> None:
    asked = read('{"type": "subscribe", "topics": ["market_data", "alerts"], "symbols": ["AAPL"]}')
    chosen = Subscription.of(asked)  # type: ignore[arg-type]
    assert (chosen.wants("market_data"), chosen.wants("system"), chosen.wants_updates) == (True, False, True)
    only_alerts = Subscription.of(read('{"type": "subscribe", "topics": ["alerts"]}'))  # type: ignore[arg-type]
    assert (only_alerts.wants("alerts"), only_alerts.wants_updates) == (True, False)
    nothing = Subscription.of(read('{"type": "unsubscribe"}'))  # type: ignore[arg-type]
    assert not nothing.wants_updates
    assert Subscription().wants("anything")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"type": 1}',
        '{"type": "subscribe", "topics": "all"}',
        '{"type": "subscribe", "more": 1}',
        '{"type": "subscribe", "symbols": [1]}',
        json.dumps({"type": "subscribe", "symbols": ["x"] * 1001}),
        json.dumps({"type": "subscribe", "topics": ["x" * 129]}),
        "[" * 64_000,
    ],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011, each says something else
        read(text)


# ---- trades ----


@pytest.mark.parametrize(
    ("side", "price", "reference", "worse"),
    [
        ("buy", 100.1, 100.0, 10.0),
        ("sell", 100.1, 100.0, -10.0),
        ("buy", 100.0, math.nan, math.nan),
        ("buy", 1.0, 0.0, math.nan),
    ],
)
def test_slippage_is_how_much_worse_than_the_market(side: str, price: float, reference: float, worse: float) -> None:
    told = slippage({"side": side, "price": price, "reference_price": reference})
    assert told == pytest.approx(worse, nan_ok=True)
