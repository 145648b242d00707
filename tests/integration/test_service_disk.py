"""What a service says of a disk in trouble."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from shmtelemetry.service.database import database_path
from tests.processes import wait_until
from tests.services import ask, await_value, service


def test_a_database_that_takes_nothing_is_told_and_over_when_it_does(namespace: str, tmp_path: Path) -> None:
    def history(told: Any) -> str:
        return str({one["name"]: one["status"] for one in told["components"]}.get("history"))

    with service(namespace, tmp_path) as running:
        path = "/api/system/components"
        await_value(running.url, path, lambda told: history(told) == "ok")
        database = database_path(namespace, tmp_path / "state")
        wait_until(database.exists, "something is kept")
        holder = sqlite3.connect(database, isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            await_value(running.url, path, lambda told: history(told) == "degraded")
            assert ask(running.url, "/api/system/health").json["status"] == "degraded"
            holder.execute("ROLLBACK")
        finally:
            holder.close()
        await_value(running.url, path, lambda told: history(told) == "ok")
