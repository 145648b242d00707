"""Programs of the operating system that some tests need."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REQUIRED = os.environ.get("SHMTEL_REQUIRE_PEERS", "") not in ("", "0")


def miss(reason: str) -> None:
    """Skip the test; with SHMTEL_REQUIRE_PEERS=1, fail it."""
    if REQUIRED:
        pytest.fail(f"{reason}, and SHMTEL_REQUIRE_PEERS is set")
    pytest.skip(reason)


def need(program: str) -> str:
    """The path of a program, such as valgrind, promtool, prometheus or unshare; the test is skipped without it."""
    path = shutil.which(program)
    if path is None:
        miss(f"{program} is not installed (make peers)")
    assert path is not None
    return path


def newest(program: str) -> str | None:
    """The path of a program of Debian's newest suite, such as prometheus; None without it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "shmtelemetry/peers/sid/usr/bin" / program
    return str(path) if path.exists() else None


def need_newest(program: str) -> str:
    """As newest; the test is skipped without it."""
    path = newest(program)
    if path is None:
        miss(f"the newest {program} is not there (make peers)")
    assert path is not None
    return path


def with_small_shm(size: str, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script in a mount namespace whose /dev/shm is a tmpfs of `size`, such as "1m"."""
    mount = 'mount -t tmpfs -o size="$0" tmpfs /dev/shm && exec "$@"'
    return run_command([*unshared("--mount"), "sh", "-c", mount, size, sys.executable, "-c", script, *arguments])


def with_small_disk(folder: Path, size: str, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script in a mount namespace where `folder` is a file system of `size`, such as "1m"."""
    mount = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'
    command = [*unshared("--mount"), "sh", "-c", mount, size, str(folder), sys.executable, "-c", script]
    return run_command([*command, str(folder), *arguments])


def with_own_pids(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script as the first process of a pid namespace."""
    return run_command([*own_pids(), sys.executable, "-c", script, *arguments])


def own_pids() -> list[str]:
    """What a command begins with that is to be the first process of a pid namespace."""
    return unshared("--pid", "--fork", "--kill-child", "--mount-proc")


def unshared(*options: str) -> list[str]:
    """What a command begins with that is to run in namespaces of its own; the test is skipped where that is refused."""
    command = [need("unshare"), *options]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        miss(f"{' '.join(command)} is not permitted here")
    return command


def run_command(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run it, and end all that it started if that takes too long."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            out, errors = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, errors)
