"""Who gets what of a service: tokens, cookies, names, origins, bounds, and clients that mean harm."""

from __future__ import annotations

import re
import socket
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.certificates import Authority
from tests.processes import PATIENCE, wait_until
from tests.readers import Running
from tests.services import Reply, ask, hear, listener, new_namespace, service

TOKEN = "x7Dk-2_9.q~Z+/=="
BEARER = f"Bearer {TOKEN}"
GUARDED = ("/", "/metrics", "/latest", "/docs", "/openapi.json", "/api/metrics/current", "/api/system/logs/recent")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with a token."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(f"{TOKEN}\n")
    with service(new_namespace(), folder, "--token-file", str(folder / "token")) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service on loopback, which needs nothing."""
    with service(new_namespace(), tmp_path_factory.mktemp("running")) as running:
        yield running


def log_in(running: Running, token: str, next: str = "/docs") -> Reply:
    form = urllib.parse.urlencode({"token": token}).encode()
    return ask(running.url, f"/login?next={urllib.parse.quote(next)}", "POST", form)


# ---- tokens and cookies ----


@pytest.mark.parametrize("path", GUARDED)
def test_nothing_is_told_without_the_token(guarded: Running, path: str) -> None:
    refused = ask(guarded.url, path)
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert ask(guarded.url, path, Authorization=f"{BEARER}x").status == 401
    assert ask(guarded.url, path, Authorization=BEARER).status == 200


def test_probes_need_no_token(guarded: Running) -> None:
    for path in ("/health", "/health/ready", "/health/live"):
        assert ask(guarded.url, path).status == 200


def test_a_browser_logs_in_and_is_known_by_a_cookie_that_no_script_and_no_other_site_gets(guarded: Running) -> None:
    sent_away = ask(guarded.url, "/docs", Accept="text/html,*/*;q=0.8")
    assert (sent_away.status, sent_away.headers["Location"]) == (303, "/login?next=/docs")
    assert b"<form" in ask(guarded.url, "/login").body
    wrong = log_in(guarded, "wrong")
    assert (wrong.status, "Set-Cookie" in wrong.headers) == (401, False)
    let_in = log_in(guarded, TOKEN)
    assert (let_in.status, let_in.headers["Location"]) == (303, "/docs")
    cookie = let_in.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    session = cookie.partition(";")[0]
    assert ask(guarded.url, "/docs", Cookie=session).status == 200
    assert ask(guarded.url, "/docs", Cookie=session[:-1] + ("0" if session[-1] != "0" else "1")).status == 401
    with listener(guarded.url, additional_headers={"Cookie": session}) as websocket:
        hear(websocket, "metrics_update")
    assert 'shmtel_session=""' in ask(guarded.url, "/logout", "POST", Cookie=session).headers["Set-Cookie"]


@pytest.mark.parametrize("next", ["//evil.example", "/\\evil.example", "https://evil.example", "\t//evil.example"])
def test_the_login_leads_nowhere_else(guarded: Running, next: str) -> None:
    assert log_in(guarded, TOKEN, next).headers["Location"] == "/"


def test_a_websocket_needs_the_token_as_well(guarded: Running) -> None:
    with pytest.raises(InvalidStatus) as refused, listener(guarded.url):
        pass
    assert refused.value.response.status_code == 401
    with listener(guarded.url, additional_headers={"Authorization": BEARER}) as websocket:
        hear(websocket, "connected")


# ---- names and origins ----


@pytest.mark.parametrize("path", ["/", "/metrics", "/health", "/api/metrics/current"])
def test_a_name_of_somebody_elses_is_refused(running: Running, path: str) -> None:
    refused = ask(running.url, path, Host="evil.example")
    assert (refused.status, refused.headers["Content-Type"]) == (421, "application/problem+json")
    assert ask(running.url, path, Host="localhost:1").status == 200


def test_a_page_whose_name_was_rebound_gets_no_websocket(running: Running) -> None:
    port = int(running.url.rpartition(":")[2])
    with (
        pytest.raises(InvalidStatus) as refused,
        listener(f"http://evil.example:{port}", sock=socket.create_connection(("127.0.0.1", port), PATIENCE)),
    ):
        pass
    assert refused.value.response.status_code == 421


def test_of_two_names_none_counts(running: Running) -> None:
    with pytest.raises(InvalidStatus) as refused, listener(running.url, additional_headers={"Host": "localhost"}):
        pass
    assert refused.value.response.status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "nonsense", "http://[::1"])
def test_a_page_of_another_origin_gets_no_websocket_and_changes_nothing(running: Running, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused, listener(running.url, origin=origin):  # type: ignore[arg-type]
        pass
    assert refused.value.response.status_code == 403
    assert ask(running.url, "/api/metrics/history", "POST", {"metric": "x"}, Origin=origin).status == 403


def test_a_page_of_our_own_gets_one(running: Running) -> None:
    with listener(running.url, origin=running.url) as websocket:  # type: ignore[arg-type]
        hear(websocket, "connected")
    asked = ask(running.url, "/api/metrics/history", "POST", {"metric": "x"}, Origin=running.url)
    assert asked.status == 200


def test_pages_of_named_origins_may_ask_and_no_others(namespace: str, tmp_path: Path) -> None:
    ours, other = "http://localhost:3000", "http://localhost:5173"
    with service(namespace, tmp_path, CORS_ORIGINS=f"{ours},{other}") as running:
        for origin in (ours, other):
            reply = ask(running.url, "/latest", Origin=origin)
            assert reply.headers["Access-Control-Allow-Origin"] == origin
            assert reply.headers["Access-Control-Allow-Credentials"] == "true"
            with listener(running.url, origin=origin) as websocket:  # type: ignore[arg-type]
                hear(websocket, "connected")
        assert ask(running.url, "/latest", Origin="http://evil.example").headers["Access-Control-Allow-Origin"] is None
        asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
        assert ask(running.url, "/api/metrics/history", "OPTIONS", Origin=ours, **asked).status == 200
        refused = ask(running.url, "/api/metrics/history", "OPTIONS", Origin="http://evil.example", **asked)
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (400, None)


def test_a_question_whether_one_may_ask_needs_no_token(namespace: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with service(namespace, tmp_path, "--token-file", str(token), CORS_ORIGINS="http://localhost:3000") as running:
        headers = {"Origin": "http://localhost:3000", "Access_Control_Request_Method": "GET"}
        assert ask(running.url, "/latest", "OPTIONS", **headers).status == 200
        assert ask(running.url, "/latest", Origin="http://localhost:3000").status == 401


# ---- what every answer says ----


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/metrics", "/nowhere", "/latest?wrong=1", "/static/plain.css", "/login"]
)
def test_every_answer_keeps_browsers_from_doing_more(running: Running, path: str) -> None:
    headers = ask(running.url, path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] is None


def test_no_page_asks_anything_of_another_host(running: Running) -> None:
    for path in ("/docs", "/login", "/static/plain.css"):
        text = ask(running.url, path).body.decode()
        assert not re.findall(r"""(?:src|href|action|url)\s*[=(]\s*["']?(?:https?:)?//[^"')\s]+""", text)
        assert "<script" not in text


# ---- beyond loopback ----


def test_another_address_needs_protection_and_then_serves(namespace: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    options = "--listen", "0.0.0.0:0", "--token-file", str(token), "--allowed-host", "telemetry.example.com"
    with service(namespace, tmp_path, *options) as running:
        port = running.url.rpartition(":")[2]
        loopback = f"http://127.0.0.1:{port}"
        assert ask(loopback, "/latest", Authorization=BEARER, Host="telemetry.example.com").status == 200
        assert ask(loopback, "/latest", Authorization=BEARER, Host="evil.example").status == 421


def test_tls_secures_requests_websockets_and_the_cookie(namespace: str, tmp_path: Path) -> None:
    import http.client

    authority = Authority(tmp_path)
    certificate, key = authority.sign("server")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    options = "--tls-cert", str(certificate), "--tls-key", str(key), "--token-file", str(token)
    with service(namespace, tmp_path, *options) as running:
        assert running.url.startswith("https://")
        port, tls = int(running.url.rpartition(":")[2]), authority.client()
        connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=tls)
        connection.request("POST", "/login", urllib.parse.urlencode({"token": TOKEN}))
        assert "Secure" in (connection.getresponse().headers["Set-Cookie"] or "")
        connection.close()
        secure = f"https://localhost:{port}"
        with listener(secure, ssl=tls, additional_headers={"Authorization": BEARER}) as websocket:
            hear(websocket, "metrics_update")


# ---- bounds ----


def test_a_body_that_is_too_long_is_refused_whether_it_says_so_or_not(running: Running) -> None:
    port = int(running.url.rpartition(":")[2])
    told = ask(running.url, "/api/metrics/history", "POST", b"x" * (2**20 + 1), Content_Type="application/json")
    assert told.status == 413
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(
            b"POST /api/metrics/history HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall((b"10000\r\n" + b"x" * 65536 + b"\r\n") * 16 + b"1\r\nx\r\n")  # not more than it reads
        assert b" 413 " in connection.recv(65536).splitlines()[0]


def test_a_head_that_is_too_long_is_refused(running: Running) -> None:
    port = int(running.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        fields = (b"X-More: " + b"x" * 1000 + b"\r\n") * 17
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + fields)  # at once: it closes when it has read
        assert b" 400 " in connection.recv(65536)


@contextmanager
def slow_clients(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections that have begun a request, and do not end it."""
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            client.sendall(b"GET / HT")
            clients.append(client)
        yield clients


def test_slow_clients_keep_nobody_out_and_are_ended(running: Running) -> None:
    port = int(running.url.rpartition(":")[2])
    with slow_clients(port, 400) as clients:
        assert ask(running.url, "/latest").status == 200
        files = len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))
        assert files < 350  # the oldest had to go
        assert clients[0].recv(1) == b""
    wait_until(lambda: ask(running.url, "/latest").status == 200, "it still answers")


@pytest.mark.slow
def test_a_client_that_says_nothing_is_ended_in_time(running: Running) -> None:
    port = int(running.url.rpartition(":")[2])
    with slow_clients(port, 1) as (client,):
        client.settimeout(PATIENCE)
        assert client.recv(1) == b""


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_methods_that_there_are_none_of_are_refused(running: Running, method: str) -> None:
    refused = ask(running.url, "/latest", method)
    assert (refused.status, refused.headers["Content-Type"]) in [
        (405, "application/problem+json"),
        (400, "text/plain; charset=utf-8"),
    ]
