"""deploy/systemd: units that systemd takes, a sandbox that it rates, and what the service needs of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shmtelemetry import Telemetry
from tests.confinement import confined
from tests.peers import need, run_command
from tests.processes import PATIENCE
from tests.readers import SHMTEL, Running, shmtel
from tests.services import ask, hear, listener

UNITS = Path(__file__).parents[2] / "deploy/systemd"
SERVICES = sorted(UNITS.glob("*.service"))
EXPOSURE = "16"  # of 100: how much of a system `systemd-analyze security` sees exposed
AS_ROOT = {"fchown"}  # of SQLite, which keeps files of others theirs

pytestmark = pytest.mark.peer


def analyzed(*arguments: str) -> str:
    done = run_command([need("systemd-analyze"), *arguments])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(params=SERVICES, ids=lambda path: path.stem)
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit for the namespace bot-a, whose program is one that this machine has."""
    shipped: Path = request.param
    text = shipped.read_text()
    program = "/opt/shmtelemetry/bin/shmtel"
    assert f"ExecStart={program} " in text
    path = tmp_path / shipped.name.replace("@", "@bot-a")
    path.write_text(text.replace(program, "/bin/true"))
    return path


def test_systemd_has_nothing_to_say_against_it(instance: Path) -> None:
    said = [line for line in analyzed("verify", "--man=no", str(instance)).splitlines() if instance.name in line]
    assert not said


def test_little_of_the_system_is_exposed_to_it(instance: Path) -> None:
    analyzed("security", "--offline=true", f"--threshold={EXPOSURE}", str(instance))


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_segments_are_shared_with_producers_and_outlive_the_unit(path: Path) -> None:
    settings = dict(line.partition("=")[::2] for line in path.read_text().splitlines() if "=" in line)
    assert settings["User"] == "shmtel"
    assert settings["RemoveIPC"] == "no"
    assert not {"DynamicUser", "PrivateIPC", "TemporaryFileSystem", "PrivateUsers", "InaccessiblePaths"} & set(settings)
    command = settings["ExecStart"].split()[1]
    assert shmtel(command, "--help").returncode == 0


def test_the_user_is_a_system_user(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run = [need("systemd-sysusers"), f"--root={tmp_path}", str(UNITS / "shmtelemetry.sysusers.conf")]
    done = run_command(run)
    assert done.returncode == 0, done.stderr
    name, _, uid, *_ = (tmp_path / "etc/passwd").read_text().strip().split(":")
    assert name == "shmtel"
    assert 0 < int(uid) < 1000  # whose files in /dev/shm logind leaves alone


@contextmanager
def traced(namespace: str, folder: Path, *options: str) -> Iterator[Running]:
    """`shmtel serve` in the unit's sandbox, as far as it can be had without systemd, under strace."""
    state = folder / "state"
    state.mkdir()
    command = [
        need("strace"), "-f", "-qq", "-e", "signal=none", "-s", "4096", "-o", str(folder / "trace"), *confined(state),
        *SHMTEL, "serve", "--namespace", namespace, "--state-dir", str(state), "--listen", "127.0.0.1:0", "--ephemeral",
        *options,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("listening on http://"), line
            yield Running(process, line.split()[-1])
            for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                os.kill(int(pid), signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def allowed_calls() -> set[str]:
    """What SystemCallFilter= of the units lets through."""
    groups: dict[str, set[str]] = {}
    members: set[str] = set()
    for line in analyzed("syscall-filter", "--no-pager").splitlines():
        if line.startswith("@"):
            members = groups[line.split()[0]] = set()
        elif line.startswith("    ") and line.strip()[0] != "#":
            members.add(line.strip())

    def calls(group: str) -> set[str]:
        nested = (calls(name) if name.startswith("@") else {name} for name in groups[group])
        return set().union(*nested)

    filters = re.findall(r"^SystemCallFilter=(.*)$", SERVICES[0].read_text(), re.MULTILINE)
    assert filters == ["@system-service", "~@privileged"]
    return calls("@system-service") - calls("@privileged")


@pytest.mark.slow
@pytest.mark.unsanitized("a sanitizer's own memory and system calls are others")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_at_work_needs_no_more_than_the_sandbox_lets_it(namespace: str, tmp_path: Path, workers: str) -> None:
    with traced(namespace, tmp_path, "--workers", workers) as running:
        with Telemetry("bot", namespace, capacity=1024) as telemetry:
            telemetry.counter("orders_total").inc(3)
            assert "orders_total 3.0" in ask(running.url, "/metrics").body.decode()
            with listener(running.url) as websocket:
                hear(websocket, "metrics_update")
        for path in ("/api/metrics/current", "/api/system", "/api/system/logs/recent", "/api/trades", "/docs"):
            assert ask(running.url, path).status == 200
        assert ask(running.url, "/api/metrics/history", "POST", {"metric": "orders_total"}).status == 200
    _, begin, trace = (tmp_path / "trace").read_text().partition(f'["{SHMTEL[0]}", "-m", "{SHMTEL[2]}", ')
    assert begin  # what makes the sandbox comes before
    called = set(re.findall(r"^\d+ +(\w+)\(", trace, re.MULTILINE))
    assert len(called) > 50
    assert called - AS_ROOT <= allowed_calls()
    families = set(re.findall(r"socket\((AF_\w+)", trace))
    assert "AF_INET" in families
    assert families <= {"AF_UNIX", "AF_INET", "AF_INET6"}
