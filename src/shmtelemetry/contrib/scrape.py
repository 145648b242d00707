"""A `/metrics` inside of an application: the reader that its processes share, and what a scraper gets of it."""

import atexit
import logging
import os
import time
from http import HTTPStatus

from .. import config
from ..aggregate.snapshot import Snapshot
from ..exporters.answers import Answers
from ..liveness import fork_lock
from ..reader import Reader
from ..segment import usable

Answer = tuple[HTTPStatus, dict[str, str], bytes]

logger = logging.getLogger("shmtelemetry")


class Scrape:
    """Shows a namespace, every process of it included, in whichever process is asked.

    All processes that have started one stand by to read the namespace: one of them does, and another one when it ends.
    A forked child starts its own. windows: as Reader has them, of the one that reads.
    """

    def __init__(self, namespace: str, windows: bool = True) -> None:
        self.namespace, self._windows = namespace, windows
        self._lock = fork_lock()
        self._reader: Reader | None = None
        self._answers = Answers(self._snapshot)
        self._pid = 0

    def start(self) -> None:
        """Stand by to read, unless this process does already; a failure is logged, and told to scrapers."""
        if self._pid != os.getpid():
            try:
                self._opened()
            except Exception:
                logger.exception("the metrics of namespace %s are not read by this process", self.namespace)

    def _opened(self) -> Reader | None:
        """This process's reader; None where telemetry does nothing."""
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._reader, self._answers = os.getpid(), None, Answers(self._snapshot)
                atexit.register(self.close)
            if self._reader is None and not config.disabled() and usable():
                self._reader = Reader(self.namespace, standby=True, windows=self._windows)
                self._reader.start()
            return self._reader

    def answer(self, method: str, query: str, accept: str, accept_encoding: str) -> Answer:
        """Status, headers and body for a scraper; may take 50 ms, and more where there are very many series."""
        if method not in ("GET", "HEAD"):
            return _line(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered", Allow="GET, HEAD")
        try:
            self._opened()
            headers, body = self._answers.answer(query, accept, accept_encoding)
        except Exception as error:
            logger.exception("the metrics cannot be shown")
            return _line(HTTPStatus.INTERNAL_SERVER_ERROR, f"the metrics cannot be shown: {error!r}")
        return HTTPStatus.OK, {**headers, "Cache-Control": "no-store"}, body

    def _snapshot(self, distributions: bool) -> Snapshot:
        reader = self._opened()
        if reader is None:
            return Snapshot(self.namespace, time.time_ns(), {}, {})
        return reader.scrape(distributions)

    def close(self) -> None:
        """Take what is published, and leave the namespace to another process."""
        with self._lock:
            reader = self._reader if self._pid == os.getpid() else None
            self._reader, self._pid = None, 0
        if reader is not None:  # not under the lock, which the reader's threads take too
            reader.close()
        atexit.unregister(self.close)


def _line(status: HTTPStatus, text: str, **headers: str) -> Answer:
    line = " ".join(text.split()).encode(errors="replace")
    return status, {"Content-Type": "text/plain; charset=utf-8", **headers}, line + b"\n"
