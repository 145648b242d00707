"""deploy/nginx.conf: a real nginx in front of a real service, asked as clients and browsers ask it."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection

from tests.certificates import Authority
from tests.peers import need
from tests.processes import PATIENCE, wait_until
from tests.services import Reply, hear, listener, new_namespace, producing, service

SITE = Path(__file__).parents[2] / "deploy/nginx.conf"
NAME = "telemetry.example.com"
TOKEN = "x7Dk-2_9"
NOTHING: Mapping[str, str] = {}
BEARER = {"Authorization": f"Bearer {TOKEN}"}
AROUND = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    include {folder}/site.conf;
}}
"""

pytestmark = pytest.mark.peer


@dataclass(frozen=True)
class Front:
    """An nginx on a port of loopback, asked by the name that it serves."""

    port: int
    tls: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, *, headers: Mapping[str, str] = NOTHING
    ) -> Reply:
        connection = http.client.HTTPSConnection(NAME, self.port)
        connection.sock = self.tls.wrap_socket(self.connect(), server_hostname=NAME)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def listener(self, path: str = "/ws/metrics", **options: Any) -> AbstractContextManager[ClientConnection]:
        return listener(self.url, path, sock=self.connect(), ssl=self.tls, **options)


def configured(folder: Path, service_url: str, port: int) -> list[str]:
    """The command of an nginx with the site as it is shipped, but for its ports and where its certificate is."""
    site = SITE.read_text()
    places = {
        "127.0.0.1:8000": service_url.removeprefix("http://"),
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/nginx/telemetry": f"{folder}/telemetry",
    }
    for shipped, here in places.items():
        assert shipped in site
        site = site.replace(shipped, here)
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    return [need("nginx"), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


@contextmanager
def nginx(folder: Path, service_url: str) -> Iterator[Front]:
    authority = Authority(folder)
    authority.sign("telemetry", f"DNS:{NAME}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    front = Front(port, authority.client())
    with subprocess.Popen(configured(folder, service_url, port)) as process:
        try:
            wait_until(lambda: process.poll() is not None or _listens(port), "nginx listens")
            assert process.poll() is None, (folder / "error.log").read_text()
            yield front
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """nginx before a service with a token, which has figures to show."""
    need("nginx")
    namespace, folder = new_namespace(), tmp_path_factory.mktemp("front")
    (folder / "token").write_text(TOKEN)
    options = "--allowed-host", NAME, "--token-file", str(folder / "token")
    with (
        service(namespace, folder, *options) as running,
        producing(namespace, throughput_orders_per_second=42.0),
        nginx(folder, running.url) as front,
    ):
        yield front


def test_nginx_takes_the_site_without_a_warning(tmp_path: Path) -> None:
    Authority(tmp_path).sign("telemetry", f"DNS:{NAME}")
    command = configured(tmp_path, "http://127.0.0.1:8000", 8443)
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert "[" not in done.stderr.replace(str(tmp_path), ""), done.stderr  # [warn], [emerg]


def test_requests_are_answered_by_the_name_that_is_allowed(front: Front) -> None:
    assert front.ask("/health/ready").status == 200  # probes need no token
    assert front.ask("/latest").status == 401
    wait_until(
        lambda: front.ask("/latest", headers=BEARER).json["throughput_ops_per_sec"] == 42.0, "the figures come through"
    )


@pytest.mark.parametrize("path", ["/ws", "/ws/metrics"])
def test_a_websocket_gets_each_update_when_it_is_made(front: Front, path: str) -> None:
    with front.listener(path, additional_headers=BEARER) as websocket:
        hear(websocket, "connected")
        last = hear(websocket, "metrics_update")
        for _ in range(5):
            update = hear(websocket, "metrics_update")
            assert update["previous"] <= last["sequence"] <= update["sequence"]  # it has lost none
            last = update
        websocket.send('{"type": "ping"}')
        hear(websocket, "pong")


def test_a_browser_logs_in_for_https_only_and_its_page_gets_a_websocket(front: Front) -> None:
    form = urllib.parse.urlencode({"token": TOKEN}).encode()
    let_in = front.ask("/login", "POST", form, headers={"Origin": front.url})
    cookie = let_in.headers["Set-Cookie"]
    assert (let_in.status, "Secure" in cookie.split("; ")) == (303, True)
    session = {"Cookie": cookie.partition(";")[0]}
    assert front.ask("/latest", headers=session).status == 200
    with front.listener(origin=front.url, additional_headers=session) as websocket:
        hear(websocket, "metrics_update")


@pytest.mark.parametrize(
    ("status", "options"),
    [(401, {}), (403, {"origin": "https://evil.example", "additional_headers": BEARER})],
    ids=["no token", "another origin"],
)
def test_a_websocket_is_refused_as_without_nginx(front: Front, status: int, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidStatus) as refused, front.listener(**options):
        pass
    assert refused.value.response.status_code == status


def test_other_names_reach_nothing(front: Front) -> None:
    assert front.ask("/health", headers={"Host": "evil.example"}).status == 421
    with pytest.raises(ssl.SSLError), front.connect() as connection:
        front.tls.wrap_socket(connection, server_hostname="evil.example")


def test_what_a_client_says_of_itself_is_not_passed_on(front: Front) -> None:
    form = urllib.parse.urlencode({"token": TOKEN}).encode()
    let_in = front.ask("/login", "POST", form, headers={"X-Forwarded-Proto": "http"})
    assert "Secure" in let_in.headers["Set-Cookie"]


def test_a_body_that_is_too_long_is_refused(front: Front) -> None:
    assert front.ask("/api/metrics/history", "POST", b"x" * (2**20 + 1), headers=BEARER).status == 413
