"""Who gets what of a web server that others reach: tokens, names, TLS, and clients that mean harm."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from shmtelemetry.exporters import connections
from shmtelemetry.listen import Protection
from tests.certificates import Authority
from tests.processes import PATIENCE, wait_until
from tests.prometheus import prometheus
from tests.readers import Running, reader, shmtel
from tests.unit.test_http import Served

TOKEN = "x7Dk-2_9.q~Z+/=="


def ask(url: str, tls: ssl.SSLContext | None = None, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        request = urllib.request.Request(url, headers=named)
        with urllib.request.urlopen(request, timeout=PATIENCE, context=tls) as response:
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def is_refused(url: str, tls: ssl.SSLContext) -> bool:
    try:
        ask(url, tls)
    except OSError:
        return True
    return False


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


# ---- tokens and names ----


def test_the_token_opens_the_metrics_and_probes_need_none(token_file: Path) -> None:
    served = Served("0.0.0.0:0", Protection(token_file=str(token_file)))
    served.host = "127.0.0.1"
    with served.server:
        assert served.ask("/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert served.ask("/metrics", "HEAD", Authorization=f"bearer {TOKEN}")[0] == 200
        for wrong in ("", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}=", f"Bearer {TOKEN[:-1]}", "Bearer \xe4"):
            status, headers, body = served.ask("/metrics", Authorization=wrong)
            assert (status, headers["WWW-Authenticate"], b"g 1.0" in body) == (401, "Bearer", False)
        assert served.ask("/metrics")[0] == 401
        for path in ("/health", "/health/ready", "/health/live"):
            assert served.ask(path)[0] == 200


@pytest.mark.parametrize("content", [None, b"", b"two words", b"a\nb", b"\xff"])
def test_a_token_file_that_holds_no_token_is_refused(namespace: str, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    done = shmtel("reader", "--namespace", namespace, "--listen", "127.0.0.1:0", "--token-file", str(path))
    assert (done.returncode, done.stderr.count("\n"), str(path) in done.stderr) == (2, 1, True)


def test_only_allowed_names_are_answered() -> None:
    served = Served("0.0.0.0:0", Protection(insecure=True, allowed_hosts=("Telemetry.example",)))
    served.host = "127.0.0.1"
    with served.server:
        assert served.ask("/metrics", Host="telemetry.example:8000")[0] == 200
        for host in ("evil.example", "127.0.0.1", ""):
            assert served.ask("/metrics", Host=host)[0] == 421
    local = Served("127.0.0.1:0", Protection(allowed_hosts=("telemetry.example",)))
    with local.server:
        assert [local.ask("/metrics", Host=host)[0] for host in ("telemetry.example", "localhost")] == [200, 200]
        assert local.ask("/metrics", Host="evil.example")[0] == 421


# ---- what is too long, too slow, too many ----


def test_a_head_that_is_too_long_is_refused_before_it_is_read() -> None:
    served = Served()
    with served.server:
        for head, status in (
            (b"GET /" + b"x" * 20_000, b"414"),
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, b"431"),
            (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000, b"431"),
        ):
            assert served.say(head[: 16 * 1024 + 1]).split()[1] == status


def test_who_says_a_request_slowly_or_takes_the_answer_slowly_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shmtelemetry.exporters.http.HEAD_SECONDS", 0.2)
    monkeypatch.setattr("shmtelemetry.exporters.http.IDLE_SECONDS", 0.2)
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.2)
    served = Served()
    with served.server:
        with socket.create_connection((served.host, int(served.port)), PATIENCE) as slow:
            slow.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
            wait_until(lambda: has_left(slow), "its bytes keep coming, and the connection ends all the same")
        with socket.create_connection((served.host, int(served.port)), PATIENCE) as greedy:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20_000)  # and reads nothing
            wait_until(lambda: not served.server._server._connections, "it is let go")


def has_left(slow: socket.socket) -> bool:
    """Whether the server takes no further byte."""
    try:
        slow.sendall(b"x")
    except OSError:
        return True
    return False


def figures(pid: int) -> tuple[int, int]:
    """(threads, descriptors) of a process."""
    return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))


def test_500_slow_connections_keep_no_scrape_out_and_take_bounded_threads_and_descriptors(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as running, ExitStack() as stack:
        port = int(running.url.rpartition(":")[2])
        threads, descriptors = figures(running.process.pid)
        slow = []
        for number in range(500):
            slow.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)))
            slow[-1].sendall(b"GET /metrics HTTP/1.1\r\nX: "[: number % 26])
            if number % 50 == 49:
                began = time.monotonic()
                assert "shmtel_series" in running.get("/metrics")
                assert time.monotonic() - began < 5
                now = figures(running.process.pid)
                assert now[0] <= threads + connections.MAX_CONNECTIONS + 1
                assert now[1] <= descriptors + connections.MAX_CONNECTIONS + 2
        stack.close()
        wait_until(lambda: figures(running.process.pid)[0] <= threads, "their threads have ended")
        assert figures(running.process.pid)[1] <= descriptors + 1


# ---- TLS ----


@contextmanager
def secured(namespace: str, authority: Authority, *options: str) -> Iterator[Running]:
    cert, key = authority.sign("server")
    with reader(namespace, "--ephemeral", "--tls-cert", str(cert), "--tls-key", str(key), *options) as running:
        assert running.url.startswith("https://")
        yield running


def test_tls_and_a_certificate_that_is_read_again_at_sighup(namespace: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with secured(namespace, authority) as running:
        wait_until(lambda: ask(f"{running.url}/health/ready", authority.client()) == 200, "it is ready")
        assert ask(f"{running.url}/metrics", authority.client()) == 200
        assert is_refused(f"{running.url}/metrics", ssl.create_default_context())
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(running.url.replace("https:", "http:") + "/metrics")
        done = shmtel("probe", running.url, "--tls-ca", str(authority.pem("ca")))
        assert done.returncode == 0, done.stderr
        assert shmtel("probe", running.url).returncode == 1
        old = authority.client()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        assert is_refused(f"{running.url}/metrics", old)

        (tmp_path / "new").mkdir()
        renewed = Authority(tmp_path / "new")
        for made, place in zip(renewed.sign("server"), (authority.pem("server"), authority.key("server")), strict=True):
            os.replace(made, place)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not is_refused(f"{running.url}/health/live", renewed.client()), "the new one is served")
        authority.key("server").write_text("no key")
        running.process.send_signal(signal.SIGHUP)
        assert ask(f"{running.url}/health/live", renewed.client()) == 200


def test_mutual_tls_admits_only_who_its_authority_has_signed(namespace: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.sign("friend")
    (tmp_path / "others").mkdir()
    others = Authority(tmp_path / "others")
    stranger = authority.client()
    stranger.load_cert_chain(*others.sign("stranger"))
    with secured(namespace, authority, "--tls-client-ca", str(authority.pem("ca"))) as running:
        assert ask(f"{running.url}/metrics", authority.client("friend")) == 200
        assert is_refused(f"{running.url}/metrics", authority.client())
        assert is_refused(f"{running.url}/metrics", stranger)
        friend = "--tls-cert", str(authority.pem("friend")), "--tls-key", str(authority.key("friend"))
        probe = shmtel("probe", running.url + "/health/live", "--tls-ca", str(authority.pem("ca")), *friend)
        assert probe.returncode == 0, probe.stderr


def test_a_handshake_that_does_not_end_keeps_no_scrape_waiting(namespace: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with secured(namespace, authority) as running, ExitStack() as stack:
        for _ in range(2 * connections.MAX_CONNECTIONS):
            address = "127.0.0.1", int(running.url.rpartition(":")[2])
            stack.enter_context(socket.create_connection(address, PATIENCE)).sendall(b"\x16\x03\x01")
        began = time.monotonic()
        assert ask(f"{running.url}/metrics", authority.client()) == 200
        assert time.monotonic() - began < connections.HEAD_SECONDS / 2


@pytest.mark.slow
@pytest.mark.peer
def test_prometheus_scrapes_with_a_token_and_mutual_tls(namespace: str, tmp_path: Path, token_file: Path) -> None:
    authority = Authority(tmp_path)
    authority.sign("prometheus")
    job = (
        f"scheme: https\n  authorization: {{credentials_file: {token_file}}}\n"
        f"  tls_config: {{ca_file: {authority.pem('ca')}, "
        f"cert_file: {authority.pem('prometheus')}, key_file: {authority.key('prometheus')}}}"
    )
    options = "--tls-client-ca", str(authority.pem("ca")), "--token-file", str(token_file)
    with secured(namespace, authority, *options) as running:
        target = running.url.removeprefix("https://")
        with prometheus([target], tmp_path / "data", job=job) as server:
            server.shows("up", 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tls-cert", "a.pem"], "--tls-key"),
        (["--tls-client-ca", "a.pem"], "--tls-cert"),
        (["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "/nowhere"),
    ],
)
def test_tls_options_that_cannot_be_used_are_wrong_use(namespace: str, options: list[str], said: str) -> None:
    done = shmtel("reader", "--namespace", namespace, "--listen", "127.0.0.1:0", *options)
    assert (done.returncode, done.stderr.count("\n"), said in done.stderr) == (2, 1, True)


def test_others_may_be_let_in_by_a_token_or_by_their_certificates(token_file: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = map(str, authority.sign("server"))
    for protection in (
        Protection(token_file=str(token_file)),
        Protection(tls_cert=cert, tls_key=key, tls_client_ca=str(authority.pem("ca"))),
    ):
        Served("0.0.0.0:0", protection).server.stop()
    with pytest.raises(ValueError, match="--token-file"):
        Served("0.0.0.0:0", Protection(tls_cert=cert, tls_key=key))  # TLS alone keeps nobody out
