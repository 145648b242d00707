"""Real Prometheus servers for tests, and what they stored."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers import need
from tests.processes import PATIENCE, wait_until

CONFIGURATION = """
global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}
scrape_configs:
- job_name: shmtel
  static_configs: [{{targets: [{targets}]}}]
  {job}
"""


def is_ready(url: str) -> bool:
    """Whether a Prometheus or an Alertmanager there has begun."""
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1.0):  # it may be another who has taken the port
            return True
    except OSError:
        return False


class Prometheus:
    """A server's query API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=PATIENCE) as response:
            return json.load(response)["data"]

    def result(self, query: str) -> list[dict[str, Any]]:
        """One entry for each series, as the API gives it."""
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=query)["result"]
        return found

    def value(self, query: str) -> float | None:
        result = self.result(query)
        return float(result[0]["value"][1]) if result else None

    def shows(self, query: str, value: float) -> None:
        """Wait until the query gives the value, or fail."""
        wait_until(lambda: self.value(query) == value, f"{query} is {value}")


@contextmanager
def prometheus(
    urls: Iterable[str], folder: Path, program: str = "prometheus", features: str = "", job: str = ""
) -> Iterator[Prometheus]:
    """A server that scrapes these ten times a second, beginning some 5 s after its start. Its data is in `folder`.

    urls: up to the path. program: its name, or where it is. features: what is given to --enable-feature. job: a line of
    the job's configuration.
    """
    targets = ", ".join(f'"{url.removeprefix("http://")}"' for url in urls)
    folder.mkdir(exist_ok=True)
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(targets=targets, job=job))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        need(program), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error", f"--enable-feature={features}",
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            server = Prometheus(f"http://127.0.0.1:{port}")
            wait_until(lambda: process.poll() is not None or is_ready(server.url), "Prometheus is ready")
            assert process.poll() is None, "Prometheus ended"
            yield server
        finally:
            process.terminate()
