"""What bots do, over HTTP: the risk manager answers `GET /bots`, and the execution engine asks once a second."""

from __future__ import annotations

import json
import logging
import threading
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

from shmtelemetry.contrib.logging import CountingHandler
from shmtelemetry.contrib.wsgi import instrument
from shmtelemetry.telemetry import Telemetry

_SECONDS: Final = 0.5  # that an answer may take
_PATH: Final = "/bots"


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are counted."""


class BotsApi:
    """A server beside the service, from its making to `close`. statuses: gives the name of each bot → its status."""

    def __init__(self, namespace: str, statuses: Callable[[], Mapping[str, str]]) -> None:
        self._statuses = statuses
        self._telemetry = Telemetry("bots-api", namespace)
        app = instrument(self._answer, telemetry=self._telemetry, endpoint=lambda environ: _PATH)
        self._server = make_server("127.0.0.1", 0, app, handler_class=_Quiet)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._telemetry.close()

    def _answer(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = environ["PATH_INFO"] == _PATH
        body = json.dumps(self._statuses()).encode() if found else b"{}"
        start_response("200 OK" if found else "404 Not Found", [("Content-Type", "application/json")])
        return [body]


class BotsLog:
    """Asks what the bots do, and logs what changes."""

    def __init__(self, namespace: str, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}{_PATH}"
        self._telemetry = Telemetry("bots-log", namespace)
        self._logger = logging.getLogger("bots")
        self._logger.propagate = False
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(CountingHandler(self._telemetry))
        self._before: Mapping[str, str] = {}

    def look(self) -> None:
        try:
            with urllib.request.urlopen(self._url, timeout=_SECONDS) as response:
                now = json.load(response)
        except (OSError, ValueError) as error:
            self._logger.error("the risk manager does not say what bots do: %s", error)
            return
        for bot, status in now.items():
            if self._before.get(bot) != status:
                self._logger.info("%s is %s", bot, status)
        self._before = now

    def close(self) -> None:
        self._telemetry.close()
