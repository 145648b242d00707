"""What trees of processes have in /dev/shm."""

from __future__ import annotations

from pathlib import Path

SHM = Path("/dev/shm")


def left_of(pid: int) -> list[str]:
    """Names of the files of the tree whose root that process is, or was."""
    return sorted(path.name for path in SHM.glob(f"shmtel.tree-*-{pid}-*"))


def remove_left_of(pid: int) -> None:
    for name in left_of(pid):
        (SHM / name).unlink(missing_ok=True)
