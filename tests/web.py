"""Web servers as real processes, their clients, and a count of requests that is kept beside theirs."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from shmtelemetry import Reader
from shmtelemetry.aggregate.snapshot import Snapshot
from tests.processes import PATIENCE, wait_until

Key = tuple[str, str, str]  # method, endpoint, status
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass
class Tally:
    """What a scrape has to show of the requests that were made."""

    requests: Counter[Key] = field(default_factory=Counter)
    received: Counter[Key] = field(default_factory=Counter)
    sent: Counter[Key] = field(default_factory=Counter)

    def add(self, method: str, endpoint: str, status: int, received: int = 0, sent: int = 0) -> None:
        key = method, endpoint, str(status)
        self.requests[key] += 1
        self.received[key] += received
        self.sent[key] += sent

    def expected(self) -> Samples:
        samples: Samples = {}
        for key, count in self.requests.items():
            labels = tuple(sorted(zip(("method", "endpoint", "status"), key, strict=True)))
            samples["http_requests_total", labels] = count
            for name in ("http_request_duration_seconds", "http_request_size_bytes", "http_response_size_bytes"):
                samples[f"{name}_count", labels] = count
                samples[f"{name}_bucket", tuple(sorted((*labels, ("le", "+Inf"))))] = count
            samples["http_request_size_bytes_sum", labels] = self.received[key]
            samples["http_response_size_bytes_sum", labels] = self.sent[key]
        return samples


@dataclass(frozen=True)
class Server:
    """A web server that listens on a port of loopback."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body of a request on a connection of its own; an iterable goes out in chunks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named, encode_chunked=not isinstance(body, bytes | None))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def scrape(self, path: str = "/metrics") -> Samples:
        """All samples of HTTP metrics but windows and those that tell times, and only the last bucket."""
        status, _, body = self.ask("GET", path)
        assert status == 200, body
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
            if sample.name.startswith("http_")
            and not sample.name.endswith(("_created", "_duration_seconds_sum"))
            and "_window_" not in sample.name
            and sample.labels.get("le", "+Inf") == "+Inf"
        }

    def abandon(self, request: bytes, until: bytes = b"") -> None:
        """Send bytes, read until some have come, and go away."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(request)
            read = b""
            while until not in read:
                read += connection.recv(65536)


@contextmanager
def serving(namespace: str, log: Path, *command: str, **environment: str) -> Iterator[Server]:
    """`python -m <command>`, where PORT stands for a free port; it is ended with the block, in order."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [argument.replace("PORT", str(port)) for argument in command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=output,
            stderr=output,
            env={**os.environ, "SHMTEL_NAMESPACE": namespace, **environment},
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or _listens(port), "the server listens")
        assert process.poll() is None, log.read_text()
        yield Server(process, port, log)
        process.terminate()
        process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def what_is_left(namespace: str) -> Snapshot:
    """The state that a server left when it ended, which is removed."""
    with Reader(namespace, ephemeral=True) as reader:
        assert reader.settle()
        return reader.snapshot()
