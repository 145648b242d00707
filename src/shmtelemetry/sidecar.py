"""The composition root: a reader's loop, and the web server that shows what it aggregated."""

from contextlib import ExitStack
from typing import Any, Self

from .aggregate.snapshot import Snapshot
from .exporters.http import Health, MetricsServer
from .exporters.shown import Shown
from .listen import UNPROTECTED, Protection, parse_listen
from .reader import Reader


class Sidecar:
    """Drains a namespace and serves it on the web, from `with` to its end.

    listen: HOST:PORT, port 0 for a free one; a host that others reach needs a `protection` that means it. shown:
    what of the figures is exposed. reader: settings as Reader has them. Raises what Reader and MetricsServer raise;
    nothing is left open then.
    """

    def __init__(
        self,
        namespace: str = "default",
        listen: str = "127.0.0.1:8000",
        *,
        protection: Protection = UNPROTECTED,
        shown: Shown | None = None,
        **reader: Any,
    ) -> None:
        parse_listen(listen, protection.is_meant)  # before the reader changes anything, as the next line
        protection.read()
        with ExitStack() as stack:
            self.reader = stack.enter_context(Reader(namespace, **reader))
            self.shown = shown or Shown()
            self._server = MetricsServer(listen, self._snapshot, self._health, protection=protection)
            stack.callback(self._server.stop)  # before the reader: no request may meet a closed one
            self._stack = stack.pop_all()

    @property
    def url(self) -> str:
        """Where the server listens, without a path."""
        return self._server.url

    def read_files(self) -> None:
        """Take token and certificates anew. Raises ValueError, and goes on with those that it has, if they are bad."""
        self._server.read_files()

    def _snapshot(self, distributions: bool) -> Snapshot:
        return self.shown(self.reader.scrape(distributions))

    def _health(self) -> Health:
        details = {"namespace": self.reader.namespace, "records": self.reader.records}
        if self.reader.turning:
            return Health(True, details=details)
        return Health(False, "the reader's loop stands still: figures are not up to date", details)

    def close(self) -> None:
        """Stop serving, take what is published, and leave the namespace to the next reader."""
        self._stack.close()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.close)
            self.reader.start()
            self._server.start()
            stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
