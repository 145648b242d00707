"""The web server for metrics and probes, over real sockets."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client.exposition import choose_encoder

from shmtelemetry.aggregate.snapshot import Family, Snapshot
from shmtelemetry.errors import ShmtelError
from shmtelemetry.exporters.http import Health, MetricsServer
from shmtelemetry.exporters.prometheus import OPENMETRICS, TEXT, negotiate
from shmtelemetry.exporters.protobuf import PROTOBUF
from shmtelemetry.listen import UNPROTECTED, Protection
from shmtelemetry.metric import metric
from tests.metric_family import read_delimited
from tests.processes import wait_until


def one_gauge(value: float) -> Snapshot:
    families = {
        name: Family(metric("gauge", name), (), ((),), np.array([value]), np.zeros(1)) for name in ("g", "other")
    }
    return Snapshot("default", 0, families, {})


class Served:
    """A server whose snapshot and health are up to the test."""

    def __init__(self, listen: str = "127.0.0.1:0", protection: Protection = UNPROTECTED) -> None:
        self.value, self.healthy, self.failing = 1.0, Health(True, details={"records": 7}), False
        self.before_snapshot = threading.Event()
        self.before_snapshot.set()
        self.asked = threading.Event()
        self.server = MetricsServer(listen, self.snapshot, lambda: self.healthy, protection=protection)
        self.host, _, self.port = self.server.url.removeprefix("http://").rpartition(":")

    def snapshot(self, distributions: bool) -> Snapshot:
        self.distributions = distributions
        self.asked.set()
        assert self.before_snapshot.wait(10)
        if self.failing:
            raise RuntimeError("the state is\ndamaged")
        return one_gauge(self.value)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host.strip("[]"), int(self.port), timeout=10)

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = self.connect()
        try:
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def say(self, request: bytes) -> bytes:
        with socket.create_connection((self.host, int(self.port)), 10) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as answer:
                return answer.read()


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    with made.server:
        yield made


def test_metrics_are_of_the_moment(served: Served) -> None:
    status, headers, body = served.ask("/metrics")
    assert (status, headers["Content-Type"]) == (200, TEXT)
    assert b"\ng 1.0\n" in body
    served.value = 2.0
    assert b"\ng 2.0\n" in served.ask("/metrics")[2]


def test_openmetrics_is_given_to_who_asks_for_it(served: Served) -> None:
    _, headers, body = served.ask("/metrics", Accept="application/openmetrics-text")
    assert headers["Content-Type"] == OPENMETRICS
    assert body.endswith(b"# EOF\n")


def test_protobuf_is_given_to_who_asks_for_it_and_to_nobody_else(served: Served) -> None:
    asked = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    for encoding in ("identity", "gzip"):
        _, headers, body = served.ask("/metrics?name[]=g", Accept=f"{asked},*/*;q=0.1", Accept_Encoding=encoding)
        assert headers["Content-Type"] == PROTOBUF
        (family,) = read_delimited(gzip.decompress(body) if encoding == "gzip" else body)
        assert (family.name, family.metric[0].gauge.value) == ("g", 1.0)
        assert served.distributions
        assert served.ask("/metrics", Accept=f"{asked};q=0.5,text/plain")[1]["Content-Type"] == TEXT
        assert not served.distributions


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/openmetrics-text",
        "application/openmetrics-text; version=0.0.1",
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        "text/plain;version=1.0.0;escaping=underscores;q=0.3,text/plain;version=0.0.4;q=0.2",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain",
    ],
)
def test_formats_are_negotiated_as_prometheus_client_does(accept: str) -> None:
    openmetrics, content_type = negotiate(accept)
    assert content_type == choose_encoder(accept)[1]
    assert openmetrics == content_type.startswith("application/openmetrics-text")


def test_a_later_version_of_openmetrics_is_not_claimed() -> None:
    both = "application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=1.0.0;q=0.9"
    assert negotiate(both)[1].startswith("application/openmetrics-text; version=1.0.0;")


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip", "gzip"), ("deflate, GZIP;q=0.5", "gzip"), ("gzip;q=0", None), ("identity", None), ("", None)],
)
def test_gzip_is_used_where_it_is_accepted(served: Served, accepted: str, encoding: str | None) -> None:
    _, headers, body = served.ask("/metrics", Accept_Encoding=accepted)
    assert headers["Content-Encoding"] == encoding
    assert b"\ng 1.0\n" in (gzip.decompress(body) if encoding else body)


def test_a_scraper_may_ask_for_some_names_only(served: Served) -> None:
    body = served.ask("/metrics?name[]=other&name[]=unknown")[2]
    assert b"other" in body
    assert b"\ng " not in body


def test_head_has_the_length_and_no_body(served: Served) -> None:
    body = served.ask("/metrics")[2]
    status, headers, nothing = served.ask("/metrics", "HEAD")
    assert (status, headers["Content-Length"], nothing) == (200, str(len(body)), b"")


def test_one_connection_serves_many_requests(served: Served) -> None:
    connection = served.connect()
    for path, status in (("/metrics", 200), ("/health/ready", 200), ("/metrics", 200)):
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, response.will_close) == (status, False)
        response.read()
    connection.close()


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_readiness_is_unavailable_with_a_reason(served: Served, path: str) -> None:
    assert served.ask(path)[0] == 200
    served.healthy = Health(False, "the reader stands still")
    status, headers, body = served.ask(path)
    assert (status, headers["Content-Type"]) == (503, "application/json")
    assert json.loads(body)["reason"] == "the reader stands still"
    assert served.ask("/health/live")[0] == 200


def test_health_tells_details(served: Served) -> None:
    assert json.loads(served.ask("/health")[2]) == {"status": "ok", "records": 7}
    assert json.loads(served.ask("/health/ready")[2]) == {"status": "ok"}


def test_the_index_leads_to_the_metrics(served: Served) -> None:
    status, headers, body = served.ask("/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b'href="/metrics"' in body


def test_other_paths_are_not_found(served: Served) -> None:
    assert served.ask("/etc/passwd")[0] == 404
    assert served.ask("/metrics/")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_other_methods_are_not_allowed(served: Served, method: str) -> None:
    status, headers, body = served.ask("/metrics", method)
    assert (status, headers["Allow"], body.count(b"\n")) == (405, "GET, HEAD", 1)


def test_the_body_of_a_request_is_never_read_as_another_request(served: Served) -> None:
    smuggled = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    assert served.say(head + smuggled).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("said", [b"\x16\x03\x01 what is this\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n"])
def test_what_is_no_request_is_told_so_in_one_line(served: Served, said: bytes) -> None:
    head, _, body = served.say(said).partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 [45]\d\d ", head)
    assert body.count(b"\n") == 1


def test_a_failing_snapshot_is_an_error_of_one_line_and_the_server_lives_on(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.failing = True
    status, _, body = served.ask("/metrics")
    assert status == 500
    assert b"damaged" in body
    assert body.count(b"\n") == 1
    assert "the metrics cannot be shown" in caplog.text
    served.failing = False
    assert served.ask("/metrics")[0] == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.8.9.1:1", "[::1]:8000"])
def test_names_of_this_machine_are_answered(served: Served, host: str) -> None:
    assert served.ask("/metrics", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.168.0.1", "[", ""]
)
@pytest.mark.parametrize("path", ["/metrics", "/health", "/"])
def test_a_name_that_was_rebound_to_loopback_is_refused(served: Served, host: str, path: str) -> None:
    assert served.ask(path, Host=host)[0] == 421


def test_every_name_is_answered_where_others_are_meant_to_ask() -> None:
    served = Served("0.0.0.0:0", Protection(insecure=True))
    with served.server:
        served.host = "127.0.0.1"
        assert served.ask("/metrics", Host="telemetry.example")[0] == 200


def test_ipv6_loopback_is_served() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        served = Served("[::1]:0")
    except ShmtelError:
        pytest.skip("no IPv6 loopback here")
    with served.server:
        assert served.server.url.startswith("http://[::1]:")
        assert served.ask("/metrics")[0] == 200


def test_a_port_in_use_is_one_clear_line(served: Served) -> None:
    with pytest.raises(ShmtelError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*in use; choose another") as caught:
        Served(f"127.0.0.1:{served.port}")
    assert "\n" not in str(caught.value)


def test_stop_answers_what_was_asked_and_drops_who_is_silent() -> None:
    served = Served()
    served.server.start()
    silent = socket.create_connection((served.host, int(served.port)), 10)
    served.before_snapshot.clear()
    answers: list[int] = []
    client = threading.Thread(target=lambda: answers.append(served.ask("/metrics")[0]))
    client.start()
    assert served.asked.wait(10)
    stopper = threading.Thread(target=served.server.stop)
    stopper.start()
    assert silent.recv(1) == b""
    assert stopper.is_alive()
    served.before_snapshot.set()
    stopper.join(10)
    client.join(10)
    silent.close()
    assert answers == [200]
    assert not [thread for thread in threading.enumerate() if thread.name == "shmtel-http"]


def test_a_client_that_goes_away_disturbs_nobody(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.before_snapshot.clear()
    rude = socket.create_connection((served.host, int(served.port)), 10)
    rude.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
    assert served.asked.wait(10)
    rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    rude.close()
    served.before_snapshot.set()
    assert served.ask("/metrics")[0] == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_clients_beyond_the_bound_are_turned_away_while_all_others_are_being_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shmtelemetry.exporters.connections.MAX_CONNECTIONS", 1)
    served.before_snapshot.clear()
    first = served.connect()
    first.request("GET", "/metrics")
    assert served.asked.wait(10)
    with pytest.raises((http.client.HTTPException, OSError)):
        served.ask("/metrics")
    served.before_snapshot.set()
    assert first.getresponse().read()

    def is_served() -> bool:  # in the place of the first, as soon as that one's thread knows that it is idle
        try:
            return served.ask("/metrics")[0] == 200
        except (http.client.HTTPException, OSError):
            return False

    wait_until(is_served, "another client is served")
    first.close()
