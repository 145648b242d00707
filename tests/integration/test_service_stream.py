"""Updates over WebSocket, with real clients of a real service."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from shmtelemetry import trading
from tests.processes import PATIENCE, wait_until
from tests.readers import Running
from tests.services import ask, hear, listener, rss, service


def hears(websocket: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [hear(websocket, "metrics_update") for _ in range(count)]


def active(running: Running, endpoint: str = "/ws/metrics") -> float:
    for line in ask(running.url, "/metrics").body.decode().splitlines():
        if line.startswith(f'websocket_connections_active{{endpoint="{endpoint}"}}'):
            return float(line.split()[-1])
    return 0.0


@pytest.fixture
def pack(namespace: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The trading pack, in the test's namespace."""
    monkeypatch.setenv("SHMTEL_NAMESPACE", namespace)
    trading.use(None)
    yield trading
    trading.close()


# ---- what comes ----


@pytest.mark.parametrize("path", ["/ws/metrics", "/ws"])
def test_a_client_is_greeted_and_gets_every_update_in_order(namespace: str, tmp_path: Path, path: str) -> None:
    with service(namespace, tmp_path) as running, listener(running.url, path) as websocket:
        first = json.loads(websocket.recv(timeout=PATIENCE))
        assert (first["type"], first["namespace"], first["interval"]) == ("connected", namespace, 0.1)
        assert {"market_data", "strategy", "execution", "system", "telemetry", "alerts"} <= set(first["topics"])
        updates = hears(websocket, 10)
        for before, after in pairwise(updates):
            assert after["previous"] <= before["sequence"] < after["sequence"]
        assert all(
            {"type", "timestamp", "market_data", "strategy", "execution", "system"} <= one.keys() for one in updates
        )


def test_updates_show_what_was_emitted(namespace: str, tmp_path: Path, pack: Any) -> None:
    with service(namespace, tmp_path) as running, listener(running.url) as websocket:
        pack.record_market_tick("AAPL", bid=150.24, ask=150.26, last_price=150.25, volume=10.0, trades=2)
        # A series is there a moment before its first record is read.
        shown = hear(websocket, lambda message: message.get("market_data", {}).get("AAPL", {}).get("trades") == 2)
        assert shown["market_data"]["AAPL"] == {
            "last_price": 150.25,
            "bid": 150.24,
            "ask": 150.26,
            "volume": 10,
            "trades": 2,
        }


def test_topics_and_symbols_can_be_chosen(namespace: str, tmp_path: Path, pack: Any) -> None:
    with service(namespace, tmp_path) as running, listener(running.url) as websocket, listener(running.url) as other:
        for symbol in ("AAPL", "MSFT"):
            pack.record_market_tick(symbol, bid=1.0, ask=2.0)
        hear(websocket, lambda message: len(message.get("market_data", {})) == 2)
        websocket.send('{"type": "subscribe", "topics": ["market_data"], "symbols": ["MSFT", "TSLA"]}')
        subscribed = hear(websocket, "subscribed")
        assert (subscribed["topics"], subscribed["symbols"]) == (["market_data"], ["MSFT", "TSLA"])
        update = hear(websocket, "metrics_update")
        assert list(update["market_data"]) == ["MSFT"]
        assert update.keys() == {"type", "timestamp", "sequence", "previous", "market_data"}
        websocket.send('{"type": "unsubscribe"}')
        assert hear(websocket, "subscribed")["topics"] == []
        assert len(hear(other, lambda message: len(message.get("market_data", {})) == 2)["market_data"]) == 2
        websocket.send('{"type": "subscribe"}')
        hear(websocket, "subscribed")
        assert {"market_data", "system"} <= hear(websocket, "metrics_update").keys()


def test_who_comes_back_can_tell_what_he_missed(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path, "--workers", "2") as running, listener(running.url) as watching:
        with listener(running.url) as websocket:
            last = hears(websocket, 3)[-1]
        hear(watching, lambda message: message.get("sequence", 0) >= last["sequence"] + 5)
        with listener(running.url) as again:
            back = hear(again, "metrics_update")  # of whichever worker: both count intervals of the same clock
        missed = back["sequence"] - last["sequence"]
        assert missed >= 5
        assert missed == pytest.approx((moment(back) - moment(last)) / 0.1, abs=3)


def moment(message: dict[str, Any]) -> float:
    return datetime.fromisoformat(message["timestamp"]).timestamp()


def test_a_heartbeat_comes_also_to_who_wants_nothing_else(namespace: str, tmp_path: Path) -> None:
    with (
        service(namespace, tmp_path, WS_HEARTBEAT_INTERVAL="0.2") as running,
        listener(running.url) as websocket,
    ):
        websocket.send('{"type": "unsubscribe"}')
        hear(websocket, "subscribed")
        for _ in range(3):
            assert hear(websocket, "heartbeat")["dropped"] == 0


# ---- what clients say ----


def test_ping_gets_pong_as_it_was_asked(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path) as running, listener(running.url) as websocket:
        hear(websocket, "connected")
        websocket.send("ping")
        wait_until(lambda: websocket.recv(timeout=PATIENCE) == "pong", "the answer comes as text")
        websocket.send('{"type": "ping", "id": 7}')
        assert hear(websocket, "pong").keys() == {"type", "timestamp"}


@pytest.mark.parametrize("text", ["hello", "{}", '{"type": "subscribe", "topics": 1}', "[" * 60_000, b"\xff\x00bytes"])
def test_what_is_no_message_is_answered_with_what_was_expected(
    namespace: str, tmp_path: Path, text: str | bytes
) -> None:
    with service(namespace, tmp_path) as running, listener(running.url) as websocket:
        websocket.send(text)
        error = hear(websocket, "error")
        assert (error["code"], "subscribe" in error["message"]) == ("invalid_message", True)
        hear(websocket, "metrics_update")


def chatter(websocket: ClientConnection) -> None:
    while True:
        websocket.send("ping")
        websocket.recv(timeout=PATIENCE)


def test_who_says_too_much_is_cut_off(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path) as running, listener(running.url) as websocket:
        with pytest.raises(ConnectionClosed) as closed:
            chatter(websocket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        wait_until(lambda: active(running) == 0, "the connection is counted no more")


def test_a_message_that_is_too_long_ends_the_connection_alone(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path) as running, listener(running.url) as websocket, listener(running.url) as other:
        websocket.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            chatter(websocket)
        hear(other, "metrics_update")


# ---- bounds ----


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_are_bounded_over_all_workers(namespace: str, tmp_path: Path, workers: int) -> None:
    with service(namespace, tmp_path, "--workers", str(workers), WS_MAX_CONNECTIONS="3") as running:
        with listener(running.url), listener(running.url), listener(running.url) as third:
            for _ in range(8):
                with pytest.raises(InvalidStatus) as refused, listener(running.url):
                    pass
                assert refused.value.response.status_code == 503
                assert json.loads(refused.value.response.body or b"")["status"] == 503
            assert active(running) == 3
            third.close()
            wait_until(lambda: is_let_in(running), "there is room for another one")
        wait_until(lambda: active(running) == 0, "all are counted no more")


def is_let_in(running: Running) -> bool:
    with suppress(InvalidStatus), listener(running.url) as websocket:
        hear(websocket, "connected")
        return True
    return False


def narrow(running: Running) -> socket.socket:
    """A connection of which the kernel takes little before its owner reads."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    port = running.url.rpartition(":")[2]
    narrow.connect(("127.0.0.1", int(port)))
    return narrow


def count_of(running: Running, name: str) -> float:
    lines = ask(running.url, "/metrics").body.decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


FAST = ("--collection-interval", "0.005", "--ws-message-queue-size", "4")


def test_a_slow_client_loses_the_oldest_updates_and_can_tell_and_no_other_does(namespace: str, tmp_path: Path) -> None:
    with (
        service(namespace, tmp_path, *FAST, "--ws-heartbeat-interval", "1") as running,
        listener(running.url) as healthy,
        listener(running.url, sock=narrow(running), max_queue=1) as slow,  # the library reads no further than that
    ):
        last, heard = hear(slow, "metrics_update"), hear(healthy, "metrics_update")
        while count_of(running, "websocket_messages_dropped_total") <= 10:
            for update in hears(healthy, 100):
                assert update["previous"] <= heard["sequence"]
                heard = update
        gaps: list[dict[str, Any]] = []
        while not gaps:
            update = hear(slow, "metrics_update")
            assert update["sequence"] > last["sequence"]
            gaps += [update] if update["previous"] > last["sequence"] else []
            last = update
        assert hear(slow, "heartbeat")["dropped"] > 10


@pytest.mark.stress
def test_a_client_that_takes_nothing_disturbs_no_other_and_is_cut_off(namespace: str, tmp_path: Path) -> None:
    with (
        service(namespace, tmp_path, *FAST) as running,
        listener(running.url) as healthy,
        listener(running.url, "/ws", sock=narrow(running), max_queue=1) as stuck,
    ):
        hear(stuck, "connected")
        before, last = rss(running.process.pid), hear(healthy, "metrics_update")
        while active(running, "/ws"):
            for update in hears(healthy, 100):
                assert update["previous"] <= last["sequence"]
                last = update
        assert rss(running.process.pid) - before < 32 * 2**20


def test_a_client_that_vanishes_is_forgotten(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path) as running, listener(running.url) as websocket:
        hear(websocket, "connected")
        wait_until(lambda: active(running) == 1, "it is counted")
        websocket.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: active(running) == 0, "it is counted no more")


def test_a_namespace_that_is_not_shown_is_refused_before_the_connection_is(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path) as running:
        for query, status in (("?namespace=other", 404), ("?more=1", 422)):
            with pytest.raises(InvalidStatus) as refused, listener(running.url, f"/ws{query}"):
                pass
            assert refused.value.response.status_code == status
