"""What the harnesses share: a namespace that fuzzing/run sweeps, a producer, files, and the start of libFuzzer."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from shmtelemetry import Telemetry

NAMESPACE = f"fuzz-{os.getppid()}"  # whose script removes what is left
SHM = "/dev/shm"


def fuzz(take: Callable[[bytes], None]) -> None:
    """Give inputs to a harness, as the arguments of libFuzzer say. What it raises is a find."""
    logging.getLogger("shmtelemetry").setLevel(logging.CRITICAL)
    atheris.Setup(sys.argv, take)
    atheris.Fuzz()


def forget() -> None:
    """Remove all segments of the namespace."""
    for name in os.listdir(SHM):
        if name.startswith(f"shmtel.{NAMESPACE}."):
            os.unlink(os.path.join(SHM, name))


@contextlib.contextmanager
def telemetry() -> Iterator["Telemetry"]:
    """A producer of instruments, whose accounts must hold in the end."""
    from shmtelemetry import Telemetry  # here, since each harness says itself what of the package is instrumented

    with Telemetry("source", NAMESPACE, capacity=64) as made:
        yield made
        assert made.stats().holds
    forget()


class File:
    """A file in memory, which is nowhere but under /proc."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("fuzz")
        self.path = f"/proc/self/fd/{self._descriptor}"
        self._size = 0

    def write(self, data: bytes) -> str:
        """Let it consist of this; returns its path."""
        os.ftruncate(self._descriptor, 0)
        self._size = 0
        self.append(data)
        return self.path

    def append(self, data: bytes) -> None:
        self._size += os.pwrite(self._descriptor, data, self._size)
