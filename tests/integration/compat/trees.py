"""What trees of processes have in /dev/shm."""

from __future__ import annotations

from pathlib import Path

from tests.processes import run_python

SHM = Path("/dev/shm")


def left_of(pid: int) -> list[str]:
    """Names of the files of the tree whose root that process is, or was."""
    return sorted(path.name for path in SHM.glob(f"shmtel.tree-*-{pid}-*"))


def nothing_is_left_by(*pids: int) -> None:
    """The next tree removes what the ones of these roots left behind."""
    run_python("from shmtelemetry.compat.prometheus_client import Counter; Counter('c', 'x')")
    left = {pid: left_of(pid) for pid in pids}
    for name in (name for names in left.values() for name in names):
        (SHM / name).unlink(missing_ok=True)
    assert not any(left.values()), left
