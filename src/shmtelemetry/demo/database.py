"""The bots' database: their trades, in SQLite, written and read once a second."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from shmtelemetry import trading
from shmtelemetry.demo.bots import BOT_OF
from shmtelemetry.demo.messages import Execution
from shmtelemetry.demo.order_flow import INSTRUMENTS, TICK_USD

_TABLE: Final = "trades"
_KEPT: Final = 10_000  # trades


class Database:
    """emits: how many records it emitted. path: of a new file."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute(
            f"CREATE TABLE {_TABLE} (time REAL, bot_id TEXT, symbol TEXT, side INTEGER, quantity INTEGER, price REAL)"
        )
        self._connection.execute("PRAGMA synchronous = OFF")  # it is gone with the demo
        self.emits = 0

    def store(self, executions: Sequence[Execution]) -> None:
        """Add what traded, let the oldest go, and look what the newest come to."""
        now = time.time()
        rows = [
            (now, BOT_OF[one.instrument].bot_id, INSTRUMENTS[one.instrument].symbol, one.side, one.quantity,
             one.price * TICK_USD)
            for one in executions
        ]  # fmt: skip
        if rows:
            self._ask("insert", f"INSERT INTO {_TABLE} VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._ask("delete", f"DELETE FROM {_TABLE} WHERE rowid <= (SELECT MAX(rowid) FROM {_TABLE}) - ?", [(_KEPT,)])
        self._ask("select", f"SELECT bot_id, SUM(quantity * price) FROM {_TABLE} WHERE time >= ? GROUP BY bot_id",
                  [(now - 60.0,)])  # fmt: skip

    def close(self) -> None:
        self._connection.close()

    def _ask(self, operation: str, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self.emits += 2
        with suppress(sqlite3.Error), trading.time_database_query(operation, _TABLE):  # which counts an error
            if operation == "insert":
                self._connection.executemany(query, rows)
            else:
                self._connection.execute(query, rows[0]).fetchall()
