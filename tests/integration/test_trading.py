"""The trading pack in processes of its own: nothing at import, settings from outside, forks, the exit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from shmtelemetry import Reader, read_state
from tests.processes import PATIENCE, in_child, run_python

IMPORTS_ONLY = """
import os, sys, threading
from pathlib import Path
before = set(os.listdir("/dev/shm"))
from shmtelemetry.trading import *
from shmtelemetry import trading
assert "shmtelemetry.trading.instruments" in sys.modules
assert not [name for name in set(os.listdir("/dev/shm")) - before if f".{sys.argv[1]}." in name]
assert threading.active_count() == 1
trading.close()  # nothing to close
"""

FIRST_USE = """
import os, sys
from shmtelemetry import trading
def segments():
    names = [name.split(".") for name in os.listdir("/dev/shm") if name.startswith(f"shmtel.{sys.argv[1]}.")]
    return sorted(producer for _, _, producer, _ in names if producer.startswith(sys.argv[2]))
assert segments() == []
trading.record_market_data_update("AAPL", "websocket")
assert segments() == [sys.argv[2]]
trading.record_trade("bot1", "AAPL", "buy", quantity=1, price=150.0)
assert segments() == [sys.argv[2], sys.argv[2] + "-trades"]
"""

FORKS = """
import os
from shmtelemetry import trading
trading.record_trade("bot1", "AAPL", "buy", quantity=1, price=150.0)
children = []
for _ in range(4):
    pid = os.fork()
    if not pid:
        for _ in range(250):
            trading.record_trade("bot1", "AAPL", "buy", quantity=1, price=150.0)
        os._exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_importing_the_pack_opens_nothing(namespace: str) -> None:
    run_python(IMPORTS_ONLY, namespace, SHMTEL_NAMESPACE=namespace)


def test_the_first_use_opens_one_producer_named_by_the_settings(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        run_python(FIRST_USE, namespace, "trading", SHMTEL_NAMESPACE=namespace)
        run_python(FIRST_USE, namespace, "bot-7", SHMTEL_NAMESPACE=namespace, SHMTEL_PRODUCER="bot-7")
        reader.start()
        reader.settle()
        snapshot = reader.snapshot()
    assert set(snapshot.producers) == {"trading", "trading-trades", "bot-7", "bot-7-trades"}
    assert all(totals.consumed == totals.attempted > 0 for totals in snapshot.producers.values())


def test_a_producers_name_that_cannot_be_is_one_clear_error(namespace: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from shmtelemetry import trading; trading.record_redis_operation('get')"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "SHMTEL_NAMESPACE": namespace, "SHMTEL_PRODUCER": "bot 7"},
    )
    assert done.returncode == 1
    assert "'bot 7'" in done.stderr.splitlines()[-1]


def test_forked_children_record_into_rings_of_their_own(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        reader.start()
        run_python(FORKS, SHMTEL_NAMESPACE=namespace)
        reader.settle()
        snapshot = reader.snapshot()
    bot = {"bot_id": "bot1", "symbol": "AAPL", "side": "buy", "status": "filled"}
    assert snapshot.value("trading_bot_trades_total", **bot) == 1_001.0
    assert snapshot.value("trading_bot_traded_quantity_total", **bot) == 1_001.0


def test_without_telemetry_the_helpers_do_nothing(namespace: str) -> None:
    done = run_python(FORKS, SHMTEL_NAMESPACE=namespace, SHMTEL_DISABLED="1")
    assert "Traceback" not in done.stderr
    assert not list(Path("/dev/shm").glob(f"shmtel.{namespace}.*"))


def test_any_process_sees_what_an_application_recorded(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        reader.start()
        run_python(FIRST_USE, namespace, "trading", SHMTEL_NAMESPACE=namespace)
        reader.settle()
        labels = {"symbol": "AAPL", "source": "websocket"}
        assert in_child(lambda: read_state(namespace).value("market_data_updates_total", **labels)) == 1.0
