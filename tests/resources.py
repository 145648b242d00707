"""What a process and a namespace take."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from tests.reading import SHM


@dataclass(frozen=True)
class Taken:
    """resident_kib: RssAnon. files: open descriptors. shared: bytes of what the reader keeps in /dev/shm."""

    resident_kib: int
    files: int
    shared: int


def resident_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def taken(pid: int, namespace: str) -> Taken:
    """By a reader and its state; segments of producers come and go."""
    return Taken(resident_kib(pid), len(os.listdir(f"/proc/{pid}/fd")), shared_bytes(f"shmtel.{namespace}.@*"))


def shared_bytes(pattern: str) -> int:
    """Of all files in /dev/shm with such names."""
    size = 0
    for path in SHM.glob(pattern):
        with suppress(FileNotFoundError):  # it has gone meanwhile
            size += path.stat().st_blocks * 512
    return size


def assert_flat(looks: list[Taken]) -> None:
    """From the first quarter on, when everything has been in use, nothing grows."""
    warm = looks[len(looks) // 4 :]
    assert max(look.files for look in warm) <= min(look.files for look in warm) + 2  # some are open for a moment
    assert warm[-1].resident_kib < warm[0].resident_kib + 4096
    assert warm[-1].shared <= warm[0].shared + 2**20
