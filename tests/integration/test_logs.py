"""`--log-format json` of real processes, and a real rsyslog that ships it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shmtelemetry.segment import DIRECTORY
from tests.peers import need
from tests.processes import PATIENCE, wait_until
from tests.readers import SHMTEL, reader

pytest.importorskip("fastapi", reason="needs shmtelemetry[service]")

from tests.services import ask, service

ROOT = Path(__file__).parents[2]
FIELDS = {
    "@timestamp", "log.level", "message", "ecs.version", "service.name", "service.version", "log.logger", "process.pid",
    "process.thread.name", "labels.namespace",
}  # fmt: skip
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
JSON = ("--log-format", "json", "--log-level", "debug")


def lines(path: Path, service_name: str, namespace: str) -> list[dict[str, Any]]:
    """All of them, each of which has what every line has."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        assert line.keys() >= FIELDS, line
        assert (line["service.name"], line["labels.namespace"]) == (service_name, namespace)
    return found


@contextmanager
def damaged(namespace: str) -> Iterator[str]:
    """A file that looks like a segment by its name alone."""
    name = f"shmtel.{namespace}.bot.{'0' * 16}"
    path = Path(DIRECTORY, name)
    path.write_bytes(b"no segment at all")
    try:
        yield name
    finally:
        path.unlink()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_line_of_the_service_has_the_trace_of_its_request(namespace: str, tmp_path: Path, workers: str) -> None:
    said = tmp_path / "said"
    with service(namespace, tmp_path, *JSON[2:], "--workers", workers, said=said) as running:
        assert ask(running.url, "/api/metrics/current", traceparent=TRACEPARENT).status == 200
        assert ask(running.url, "/nowhere").status == 404
        recent = ask(running.url, "/api/system/logs/recent?limit=100").json["logs"]
    found = lines(said, "shmtel-serve", namespace)
    asked = {line["url.path"]: line for line in found if "url.path" in line}
    traced, other = asked["/api/metrics/current"], asked["/nowhere"]
    assert (traced["trace.id"], traced["span.id"]) == (TRACE, SPAN)
    assert traced["http.response.status_code"] == 200
    assert traced["event.duration"] > 0
    assert "trace.id" not in other
    assert (other["http.request.method"], other["http.response.status_code"]) == ("GET", 404)
    assert [line["trace.id"] for line in recent if line.get("url.path") == "/api/metrics/current"] == [TRACE]


def test_lines_of_the_reader_have_trace_and_what_they_are_about(namespace: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with damaged(namespace) as segment, reader(namespace, "--ephemeral", *JSON, said=said) as running:
        running.get("/metrics", traceparent=TRACEPARENT)
        wait_until(lambda: "left aside" in said.read_text(), "the segment is left aside")
    found = lines(said, "shmtel-reader", namespace)
    assert [line["trace.id"] for line in found if "/metrics" in line["message"]] == [TRACE]
    [about] = [line for line in found if "left aside" in line["message"]]
    assert (about["log.level"], about["labels.segment"], about["labels.producer"]) == ("warning", segment, "bot")


def test_lines_of_those_who_take_data_from_elsewhere_are_such_too(namespace: str, tmp_path: Path) -> None:
    log = tmp_path / "telemetry.log"
    log.write_text("not a row\n")
    command = [*SHMTEL, "ingest", "csv", str(log), "--namespace", namespace, "--log-format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    said = tmp_path / "said"
    said.write_text(done.stderr)
    assert [line["log.level"] for line in lines(said, "shmtel-ingest", namespace)] == ["warning"]
    with service(namespace, tmp_path, "--csv", str(log), said=said) as running:  # by a process of its own
        wait_until(lambda: "refused" in said.read_text() or "waiting" in said.read_text(), "the file is followed")
        assert running.end(signal.SIGTERM) == 0
    assert lines(said, "shmtel-serve", namespace)


def test_text_is_for_people(namespace: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with service(namespace, tmp_path, "--log-format", "text", "--log-level", "debug", said=said) as running:
        assert ask(running.url, "/nowhere").status == 404
    assert " DEBUG GET /nowhere 404\n" in said.read_text()
    assert '"url.path":"/nowhere"' in (tmp_path / "state" / f"{namespace}.log").read_text()


# ---- the shipper ----

MAIN = """
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{folder}/log" UseSysTimeStamp="off")
include(file="{folder}/shmtel.conf")
"""


@contextmanager
def rsyslog(folder: Path, port: int) -> Iterator[Path]:
    """A server with the shipped file; its socket, as others have it at /dev/log."""
    shipped = (ROOT / "deploy/rsyslog.conf").read_text()
    assert shipped.count('port="5170"') == 1
    (folder / "shmtel.conf").write_text(shipped.replace('port="5170"', f'port="{port}"'))
    (folder / "rsyslog.conf").write_text(MAIN.format(folder=folder))
    arguments = ["-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")]
    checked = subprocess.run([need("rsyslogd"), "-N1", *arguments], capture_output=True, text=True, timeout=PATIENCE)
    assert checked.returncode == 0, checked.stderr
    with subprocess.Popen([need("rsyslogd"), "-n", *arguments]) as process:
        try:
            wait_until((folder / "log").exists, "rsyslog listens")
            yield folder / "log"
        finally:
            process.terminate()


def received(listener: socket.socket, count: int) -> list[dict[str, Any]]:
    """So many lines of the first who connects."""
    listener.settimeout(PATIENCE)
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    with connection, connection.makefile("r") as file:
        return [json.loads(file.readline()) for _ in range(count)]


@pytest.mark.peer
def test_a_shipper_hands_on_every_line_also_those_from_before_there_was_a_receiver(
    namespace: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    logger = need("logger")
    with rsyslog(tmp_path, port) as log:
        command = [logger, "--id", "--socket", str(log), "--tag", "shmtel", "--size", "65536"]
        said = tmp_path / "said"
        with damaged(namespace) as segment, reader(namespace, "--ephemeral", *JSON, said=said) as running:
            running.get("/metrics", traceparent=TRACEPARENT)
            wait_until(lambda: "left aside" in said.read_text(), "the segment is left aside")
        text = said.read_text()
        long = json.dumps({**json.loads(text.splitlines()[0]), "message": "long", "error.stack_trace": "x" * 30_000})
        text += f"{long}\nshmtel: a fault that ends a command\n"
        subprocess.run([*command[:-3], "other", *command[-2:]], input="not ours\n", text=True, check=True)
        subprocess.run(command, input=text, text=True, timeout=PATIENCE, check=True)
        sent = text.splitlines()
        with socket.create_server(("127.0.0.1", port)) as listener:
            found = received(listener, len(sent))
    assert all(line.pop("host")["name"] for line in found)
    *objects, fault = found
    assert objects == [json.loads(line) for line in sent[:-1]]
    assert segment in {line.get("labels.segment") for line in objects}
    assert fault.pop("process")["pid"] > 0
    assert datetime.fromisoformat(fault.pop("@timestamp")).utcoffset() == timedelta()
    assert fault == {"message": sent[-1], "log": {"level": "error"}, "service": {"name": "shmtel"}}
