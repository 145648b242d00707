"""The composition root: a reader's loop, and the web server that shows what it aggregated."""

from contextlib import ExitStack
from typing import Self

from .aggregate.snapshot import Snapshot
from .exporters.http import Health, MetricsServer
from .listen import parse_listen
from .reader import Reader


class Sidecar:
    """Drains a namespace and serves it on the web, from `with` to its end.

    listen: HOST:PORT, port 0 for a free one; a host that others reach needs `insecure`. ephemeral, interval,
    reset_state: as Reader has them. Raises what Reader and MetricsServer raise; nothing is left open then.
    """

    def __init__(
        self,
        namespace: str = "default",
        listen: str = "127.0.0.1:8000",
        ephemeral: bool = False,
        interval: float | None = None,
        insecure: bool = False,
        reset_state: bool = False,
    ) -> None:
        parse_listen(listen, insecure)  # before the reader changes anything
        with ExitStack() as stack:
            reader = Reader(namespace, ephemeral=ephemeral, interval=interval, reset_state=reset_state)
            self.reader = stack.enter_context(reader)
            self._server = MetricsServer(listen, self._snapshot, self._health, insecure=insecure)
            stack.callback(self._server.stop)  # before the reader: no request may meet a closed one
            self._stack = stack.pop_all()

    @property
    def url(self) -> str:
        """Where the server listens, without a path."""
        return self._server.url

    def _snapshot(self) -> Snapshot:
        return self.reader.scrape()

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
