"""Beside: a file is followed by a process of its own, for as long as this one wants it."""

import logging
import multiprocessing
import signal
import sys
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final, Self

from ...errors import ShmtelError
from ...logs import Log
from .ingest import Settings, ingest

AGAIN: Final = 1.0  # seconds until a process that ended by itself is followed by another

logger = logging.getLogger("shmtelemetry")


class Beside:
    """Follows a file from `with` to its end. Its process ends with this one, however that ends; killed by itself it is
    followed by another, which goes on at the same row."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings, self._log = settings, log
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None  # its other end is readable when the process shall end
        self._thread = threading.Thread(target=self._watch, name="shmtel-csv", daemon=True)

    def __enter__(self) -> Self:
        self._start()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends.set()
        with self._lock:
            assert self._pipe is not None
            self._pipe.close()
        self._thread.join()

    def _start(self) -> SpawnProcess | None:
        """Another process; None if there shall be none any more."""
        with self._lock:
            if self._ends.is_set():
                return None
            ours, theirs = multiprocessing.Pipe()
            self._process = multiprocessing.get_context("spawn").Process(
                target=_follow, args=(self._settings, self._log, theirs), name="shmtel-csv"
            )
            self._process.start()
            theirs.close()
            if self._pipe is not None:
                self._pipe.close()
            self._pipe = ours
            return self._process

    def _watch(self) -> None:
        process = self._process
        while process is not None:
            process.join()
            if self._ends.wait(AGAIN):
                return
            logger.error("the process that follows %s ended with exit code %s", self._settings.path, process.exitcode)
            process = self._start()


def _follow(settings: Settings, log: Log, parent: Connection) -> None:
    """What the process does. Its parent decides when it ends: signals of a terminal come to both."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    log.begin()
    try:
        ingest(settings, lambda seconds: parent.poll(seconds), logger.warning)
    except (ShmtelError, OSError) as error:
        logger.error(str(error))
        sys.exit(1)
