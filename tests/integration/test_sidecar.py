"""Reader and web server together."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request

import pytest

from shmtelemetry import Telemetry
from shmtelemetry.errors import ReaderBusyError, ShmtelError
from shmtelemetry.sidecar import Sidecar
from tests.processes import wait_until


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_it_is_ready_while_the_loop_turns_and_says_why_it_is_not(namespace: str) -> None:
    with Sidecar(namespace, "127.0.0.1:0", ephemeral=True) as sidecar:
        wait_until(lambda: get(f"{sidecar.url}/health/ready")[0] == 200, "it is ready")
        assert json.loads(get(f"{sidecar.url}/health")[1]) == {
            "status": "ok",
            "namespace": namespace,
            "records": 0,
        }
        sidecar.reader.stop()
        status, body = get(f"{sidecar.url}/health/ready")
        assert (status, json.loads(body)["status"]) == (503, "unavailable")
        assert "stands still" in json.loads(body)["reason"]
        assert get(f"{sidecar.url}/health/live")[0] == 200


def test_a_scrape_shows_what_was_published_before_it(namespace: str) -> None:
    with (
        Telemetry("bot", namespace=namespace) as telemetry,
        Sidecar(namespace, "127.0.0.1:0", ephemeral=True) as sidecar,
    ):
        for count in range(1, 51):
            telemetry.counter("orders_total", "Orders.").inc()
            assert f"\norders_total {count}.0\n" in get(f"{sidecar.url}/metrics")[1]


def test_a_namespace_that_is_read_already_is_refused(namespace: str) -> None:
    with Sidecar(namespace, "127.0.0.1:0", ephemeral=True), pytest.raises(ReaderBusyError):
        Sidecar(namespace, "127.0.0.1:0", ephemeral=True)


def test_nothing_stays_open_where_the_address_cannot_be_had(namespace: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ShmtelError, match="cannot listen"):
            Sidecar(namespace, listen, ephemeral=True)
    with pytest.raises(ValueError, match="--insecure"):
        Sidecar(namespace, "0.0.0.0:0", ephemeral=True)
    with Sidecar(namespace, "127.0.0.1:0", ephemeral=True) as sidecar:
        assert get(f"{sidecar.url}/metrics")[0] == 200


def test_it_may_be_closed_twice(namespace: str) -> None:
    with Sidecar(namespace, "127.0.0.1:0", ephemeral=True) as sidecar:
        sidecar.close()
    sidecar.close()
