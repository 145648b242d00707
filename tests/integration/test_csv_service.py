"""`shmtel serve --csv FILE`: a telemetry log and its service in one command."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.csv_log import HEADER, append, forget, line, lines
from tests.processes import wait_until
from tests.readers import listening, shmtel
from tests.services import await_value


def followers(pid: int) -> set[int]:
    """Children of a service that follow a file."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = set()
    for child in [
        *children,
        *(c for path in Path(f"/proc/{pid}/task").glob("*/children") for c in path.read_text().split()),
    ]:
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            found.add(int(child))
    return found


def test_the_log_is_shown_and_followed_until_the_service_ends(namespace: str, tmp_path: Path) -> None:
    log = tmp_path / "telemetry.log"
    log.write_text(HEADER + "\n" + lines(1, 10))
    options = ("--namespace", namespace, "--ephemeral", "--csv", str(log), "--state-dir", str(tmp_path))
    with listening("serve", *options, SHMTEL_NETWORK_TYPE="multicast") as running:
        told = await_value(running.url, "/latest", lambda told: told["batch_count"] == 30)
        assert (told["orders_produced"], told["throughput_ops_per_sec"]) == (100, 8500.5)
        assert told["buffer_utilization_percent"] == 100 * 10 / 1024
        assert told["timestamp_ns"] == 1_703_123_456_789_000_010
        append(log, line(11))
        await_value(running.url, "/latest", lambda told: told["batch_count"] == 33)
        assert 'network_dropped_packets_total{network_type="multicast"} 22.0' in running.get("/metrics")
        (follower,) = followers(running.process.pid)
        os.kill(follower, signal.SIGKILL)
        append(log, lines(12, 20))
        await_value(running.url, "/latest", lambda told: told["batch_count"] == 60)
        followed = followers(running.process.pid)
        assert running.end(signal.SIGTERM) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in followed)
    forget(namespace)


def test_a_service_that_is_killed_leaves_nobody_following(namespace: str, tmp_path: Path) -> None:
    log = tmp_path / "telemetry.log"
    log.write_text(lines(1, 10))
    options = ("--namespace", namespace, "--ephemeral", "--csv", str(log), "--state-dir", str(tmp_path))
    with listening("serve", *options) as running:
        await_value(running.url, "/latest", lambda told: told["batch_count"] == 30)
        followed = followers(running.process.pid)
        running.end(signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in followed), "its follower has ended")
    forget(namespace)


def test_what_the_source_cannot_use_is_wrong_use_of_the_service(namespace: str, tmp_path: Path) -> None:
    columns = tmp_path / "columns.toml"
    columns.write_text('[columns.a]\nrole = "sum"\n')
    done = shmtel(
        "serve", "--namespace", namespace, "--csv", "x", "--state-dir", str(tmp_path), SHMTEL_COLUMNS=str(columns)
    )
    assert done.returncode == 2
    assert "role = 'sum'" in done.stderr
