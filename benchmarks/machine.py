"""On what a benchmark ran."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLOCKSOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")


def facts(*peers: str) -> dict[str, str | int | None]:
    """Processor, cores, kernel, clock source, interpreter, compiler, and the versions of what was measured.

    peers: packages that were measured beside ours.
    """
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "clock source": CLOCKSOURCE.read_text().strip() if CLOCKSOURCE.exists() else "unknown",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": _first_line(os.environ.get("CC", "cc"), "--version"),
        **{package: version(package) for package in ("shmtelemetry", "numpy", *peers)},
    }


def commit() -> str:
    """The short hash of the commit that was measured, or `uncommitted`."""
    return _first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD") or "uncommitted"


def modified() -> bool:
    """Whether tracked files differ from that commit."""
    return bool(_first_line("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"))


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0] if done.returncode == 0 else ""
