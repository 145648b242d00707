"""`make stack`: the whole chain on loopback, without containers, until Ctrl-C.

python -m tests.stack [--free] [--faster 10]

The demo's services with a reader each, Prometheus, Alertmanager, and a service that lists what it says, by files that
`shmtel generate` writes, in a folder that is gone afterwards.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import yaml

from shmtelemetry.errors import ShmtelError
from shmtelemetry.monitoring.catalogue import Catalogue
from shmtelemetry.monitoring.generate import ALL, generated, write
from shmtelemetry.monitoring.prometheus import FLAGS
from shmtelemetry.monitoring.yaml_text import as_yaml
from shmtelemetry.signals import caught_signals
from tests.peers import newest
from tests.processes import wait_until
from tests.prometheus import Prometheus, is_ready
from tests.readers import SHMTEL

DEMO: Final = (
    *SHMTEL,
    "demo",
    "--platform",
    "--listen",
    "127.0.0.1:0",
    "--zmq-port",
    "0",
)  # its own page is not what is shown here
HERE: Final = "127.0.0.1"
END_SECONDS: Final = 60.0  # until what was asked to end is killed
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
WINDOW: Final = r"(\[|\boffset )(\d+[smhd])"  # in a query
DURATIONS: Final = ("for", "scrape_interval", "evaluation_interval")  # keys of what is made faster


@dataclass(frozen=True)
class Ports:
    """Those that are documented; 0 for free ones. metrics: of the first service, the others follow."""

    service: int = 8000
    metrics: int = 9090
    prometheus: int = 9999
    alertmanager: int = 9193


FREE: Final = Ports(0, 0, 0, 0)


class StackError(ShmtelError):
    """A part of it does not run; the message says which, and what it said."""


@dataclass(frozen=True)
class Stack:
    """What runs.

    folder: of its files. service: URL. metrics: name of a service → URL of its metrics. pids: of the services'
    processes.
    """

    folder: Path
    service: str
    metrics: Mapping[str, str]
    pids: Mapping[str, int]
    prometheus: Prometheus
    alertmanager: str
    parts: Mapping[str, subprocess.Popen[bytes]]

    def __str__(self) -> str:
        urls = {**self.metrics, "service": self.service, "prometheus": self.prometheus.url}
        return "\n".join(f"{name:<18}{url}" for name, url in (urls | {"alertmanager": self.alertmanager}).items())


@contextmanager
def stack(folder: Path, ports: Ports = FREE, faster: int = 1) -> Iterator[Stack]:
    """All of it, once each part answers. faster: what rules' durations and the times between scrapes are divided by.

    folder: of the files, the servers' data, and NAME.log of each part. Raises StackError for a part that ends at once.
    """
    with ExitStack() as ends:
        parts = {"demo": ends.enter_context(_running(folder, "demo", [*DEMO, "--metrics-port", str(ports.metrics)]))}
        namespaces, metrics, pids = _announced(folder, parts["demo"])
        listen = f"{HERE}:{ports.service}"
        parts["service"] = ends.enter_context(_running(folder, "service", _serve(folder, listen, namespaces)))
        service = _lines(_said(folder, "service", parts["service"], r"^listening on .*\n"), "listening on")[0]
        addresses = {name: f"{HERE}:{port or _free()}" for name, port in _of_servers(ports).items()}
        write(_files(service, metrics, addresses["alertmanager"], faster), folder)
        for name, command in _commands(folder).items():
            listen = f"--web.listen-address={addresses[name]}"
            parts[name] = ends.enter_context(_running(folder, name, [*command, listen]))
        urls = {name: f"http://{address}" for name, address in addresses.items()}
        for name, url in urls.items():
            _await(folder, name, parts[name], url)
        yield Stack(folder, service, metrics, pids, Prometheus(urls["prometheus"]), urls["alertmanager"], parts)


def _of_servers(ports: Ports) -> dict[str, int]:
    return {"alertmanager": ports.alertmanager, "prometheus": ports.prometheus}


def _free() -> int:
    with socket.create_server((HERE, 0)) as free:
        port: int = free.getsockname()[1]
        return port


# ---- processes ----


@contextmanager
def _running(folder: Path, name: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own: a terminal's Ctrl-C is ours to pass on, in order."""
    with (
        (folder / f"{name}.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _commands(folder: Path) -> dict[str, list[str]]:
    """Of the servers, without where they listen."""
    return {
        "alertmanager": [
            _program("prometheus-alertmanager"), f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alertmanager", "--cluster.listen-address=",
        ],
        "prometheus": [
            _program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            *FLAGS,
        ],
    }  # fmt: skip


def _program(name: str) -> str:
    found = newest(name) or shutil.which(name)
    if found is None:
        raise StackError(f"there is no {name}: make peers")
    return found


def _serve(folder: Path, listen: str, namespaces: Sequence[str]) -> list[str]:
    attached = [word for namespace in namespaces for word in ("--attach", namespace)]
    own = ["--namespace", f"{namespaces[0]}-stack", "--ephemeral", "--state-dir", str(folder / "state")]
    return [*SHMTEL, "serve", "--listen", listen, *own, *attached]


def _announced(folder: Path, demo: subprocess.Popen[bytes]) -> tuple[list[str], dict[str, str], dict[str, int]]:
    """What the demo says at its begin: namespaces of the services, URL of each one's metrics, and pids."""
    said = _said(folder, "demo", demo, r"^metrics: .*\n" * 4)
    pids = {name: int(pid) for name, pid in re.findall(r"([\w-]+) (\d+)", _lines(said, "processes:")[0])}
    return _lines(said, "namespace")[0].split(", "), dict(zip(pids, _lines(said, "metrics:"), strict=True)), pids


def _said(folder: Path, name: str, process: subprocess.Popen[bytes], last: str) -> str:
    """The log of a part, once it has a text."""

    def said() -> str:
        _check(folder, name, process)
        text = (folder / f"{name}.log").read_text()
        return text if re.search(last, text, re.MULTILINE) else ""

    return wait_until(said, f"{name} has begun")


def _lines(said: str, head: str) -> list[str]:
    """What follows a word in the lines that begin with it."""
    return re.findall(rf"^{head} (.*)$", said, re.MULTILINE)


def _await(folder: Path, name: str, process: subprocess.Popen[bytes], url: str) -> None:
    def ready() -> bool:
        _check(folder, name, process)
        return is_ready(url)

    wait_until(ready, f"{name} is ready")


def _check(folder: Path, name: str, process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        said = (folder / f"{name}.log").read_text(errors="replace").splitlines()[-10:]
        raise StackError("\n".join((f"{name} ended with exit code {process.returncode}", *said)))


# ---- files ----


def _files(service: str, metrics: Mapping[str, str], alertmanager: str, faster: int) -> dict[str, str]:
    """Those of the catalogue, for these places."""
    packaged = Catalogue.packaged()
    where = msgspec.structs.replace(packaged.deployment, service=service, alertmanager=alertmanager)
    places = {**{name: url.removesuffix("/metrics") for name, url in metrics.items()}, "api": service}
    jobs = {
        name: msgspec.structs.replace(packaged.jobs[name], targets=(url.removeprefix("http://"),))
        for name, url in places.items()
    }
    files = generated(replace(packaged, deployment=where, jobs=jobs), ALL)
    for name in ("prometheus.yml", "rules.yml", "alerts.yml"):
        files[name] = as_yaml(in_less_time(yaml.safe_load(files[name]), faster))
    return files


def in_less_time(document: Any, faster: int) -> Any:
    """A document of Prometheus whose durations are so many times shorter: what is waited for, and queries' windows."""
    if isinstance(document, list):
        return [in_less_time(one, faster) for one in document]
    if not isinstance(document, dict):
        return document
    made = {key: in_less_time(value, faster) for key, value in document.items()}
    for key in made.keys() & set(DURATIONS):
        made[key] = _shorter(made[key], faster)
    if "expr" in made:
        made["expr"] = re.sub(WINDOW, lambda found: found[1] + _shorter(found[2], faster), made["expr"])
    return made


def _shorter(duration: str, faster: int) -> str:
    return f"{int(duration[:-1]) * SECONDS[duration[-1]] * 1000 // faster}ms"


# ---- for a person ----


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stack", description=__doc__.partition("\n")[0])
    parser.add_argument("--free", action="store_true", help="take free ports instead of the documented ones")
    parser.add_argument("--faster", type=int, default=1, metavar="N", help="divide all durations by so much")
    said = parser.parse_args()
    with TemporaryDirectory(prefix="shmtel-stack-") as folder, caught_signals() as signals:
        try:
            with stack(Path(folder), FREE if said.free else Ports(), said.faster) as running:
                print(f"{running}\nfiles and logs: {folder}", flush=True)
                _until_it_ends(Path(folder), running, signals)
        except StackError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def _until_it_ends(folder: Path, running: Stack, signals: int) -> None:
    """Raises StackError for a part that ends by itself."""
    watched = [os.pidfd_open(process.pid) for process in running.parts.values()]
    try:
        wait([signals, *watched])
        if not wait([signals], 0):
            for name, process in running.parts.items():
                _check(folder, name, process)
    finally:
        for descriptor in watched:
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
