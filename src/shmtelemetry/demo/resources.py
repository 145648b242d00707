"""What a service's process takes, told by itself once a second."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from shmtelemetry.trading import instruments

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Resources:
    """emits: how many records it emitted."""

    def __init__(self, service: str) -> None:
        self._cpu = instruments.SERVICE_CPU.labels(service)
        self._memory = instruments.SERVICE_RESIDENT_MEMORY_BYTES.labels(service)
        self._descriptors = instruments.SERVICE_OPEN_FILE_DESCRIPTORS.labels(service)
        self._told = 0.0  # seconds of CPU time
        instruments.SERVICE_START_TIME.labels(service).emit(time.time())
        self.emits = 1

    def tell(self) -> None:
        used = time.process_time()
        self._cpu.emit(used - self._told)
        self._told = used
        self._memory.emit(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE)
        self._descriptors.emit(len(os.listdir("/proc/self/fd")))
        self.emits += 3
