"""Readers of the command line as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.processes import PATIENCE

SHMTEL = (sys.executable, "-m", "shmtelemetry.cli")


@dataclass(frozen=True)
class Running:
    """A `shmtel reader` that listens at `url`."""

    process: subprocess.Popen[str]
    url: str

    def get(self, path: str, **headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, headers=named)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            text: str = response.read().decode()
            return text

    def end(self, signal_number: int) -> int:
        """Send a signal and wait; returns the exit code."""
        self.process.send_signal(signal_number)
        return self.process.wait(PATIENCE)


@contextmanager
def reader(
    namespace: str, *options: str, said: Path | None = None, folder: Path | None = None, **environment: str
) -> Iterator[Running]:
    """`shmtel reader` on a free port of loopback; it is ended with the block.

    said: where its stderr goes. folder: its working directory.
    """
    with listening("reader", "--namespace", namespace, *options, said=said, folder=folder, **environment) as running:
        yield running


@contextmanager
def listening(
    *arguments: str, said: Path | None = None, folder: Path | None = None, **environment: str
) -> Iterator[Running]:
    """A command that listens, by default on a free port of loopback."""
    command = [*SHMTEL, *arguments]
    if "--listen" not in arguments:
        command += ["--listen", "127.0.0.1:0"]
    with (
        said.open("w") if said else nullcontext() as stderr,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder, env={**os.environ, **environment}
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith(("listening on http://", "listening on https://")), line
            yield Running(process, line.split()[-1])
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise


def shmtel(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself. folder: its working directory."""
    return subprocess.run(
        [*SHMTEL, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=folder,
        env={**os.environ, **environment},
    )
