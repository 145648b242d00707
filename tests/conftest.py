"""What every test has: a namespace of its own, and the duty to leave nothing behind."""

from __future__ import annotations

import os
import secrets
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from shmtelemetry import producer
from tests import native

SHM = Path("/dev/shm")

# A shell lets what it puts into the background ignore SIGINT, and so would each child that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

FIXTURES = [HealthCheck.function_scoped_fixture]  # an example cleans up after itself
settings.register_profile("default", deadline=None, max_examples=50, suppress_health_check=FIXTURES)
settings.register_profile("stress", deadline=None, max_examples=2000, suppress_health_check=FIXTURES)
settings.load_profile("default")


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture(autouse=True)
def nothing_is_left_behind(namespace: str) -> Iterator[None]:
    """Fails a test that leaves segments of its namespace, or child processes; removes both."""
    before = child_processes()
    yield
    children = child_processes() - before
    for pid in children:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    files = sorted(SHM.glob(f"shmtel.{namespace}*"))
    for file in files:
        file.unlink(missing_ok=True)
    assert not children, f"left behind: child processes {sorted(children)}"
    assert not files, f"left behind: {len(files)} segments, {', '.join(file.name for file in files[:4])}"


@pytest.fixture(autouse=True)
def warnings_are_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged once a process is logged once a test."""
    monkeypatch.setattr(producer, "_warned", set())


@pytest.fixture(scope="session")
def c_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A producer in C that does what it is told line by line, under sanitizers."""
    return native.compiled(native.HERE / "driver.c", tmp_path_factory.mktemp("native"), *native.SANITIZED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests that passed have proved, by what they recorded with `record_property`, added up."""
    proved: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        proved.update({name: value for name, value in report.user_properties if isinstance(value, int)})
    if proved:
        terminalreporter.section("proved")
        for name, count in proved.items():
            terminalreporter.write_line(f"{count:>15,} {name}")


def child_processes() -> set[int]:
    """Children of this process, ended ones that nobody waited for included; not those of multiprocessing itself."""
    found: set[int] = set()
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, children.read_text().split()))
    helpers = (resource_tracker._resource_tracker, "_pid"), (forkserver._forkserver, "_forkserver_pid")
    return found - {getattr(helper, name) for helper, name in helpers}
