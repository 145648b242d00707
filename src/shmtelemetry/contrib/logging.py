"""A handler of the standard library's logging that counts records."""

from __future__ import annotations

import logging
from typing import Any, Final

from .. import config
from ..producer import warn_once
from ..telemetry import Telemetry

MAX_LOGGERS: Final = 1000  # told apart; the rest is counted as `overflow`
OVERFLOW: Final = "overflow"


class CountingHandler(logging.Handler):
    """Counts records by level and logger, as log_records_total{level,logger}.

        logging.getLogger().addHandler(CountingHandler())

    telemetry: where they are counted; by default one of its own named `logging`, in SHMTEL_NAMESPACE or `default`.
    level: below which none is. At most 1,000 loggers are told apart.
    """

    def __init__(self, telemetry: Telemetry | None = None, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._own = telemetry is None
        self._telemetry = telemetry or Telemetry("logging", config.namespace() or "default")
        self._records = self._telemetry.counter("log_records_total", "Records of the log.", ("level", "logger"))
        self._series: dict[tuple[str, str], Any] = {}
        self._loggers: set[str] = set()

    def handle(self, record: logging.LogRecord) -> bool:
        """Count it, without the lock of other handlers: emit needs none."""
        if self.filter(record):
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            series = self._series.get((record.levelname, record.name)) or self._new(record)
            series.emit(1.0)
        except Exception as error:  # an application must not end by its log
            warn_once("logging", f"a record of the log is not counted: {error}")

    def _new(self, record: logging.LogRecord) -> Any:
        name = record.name if record.name in self._loggers or len(self._loggers) < MAX_LOGGERS else OVERFLOW
        self._loggers.add(name)
        series = self._records.labels(record.levelname.lower(), name)
        if name is not OVERFLOW:
            self._series[record.levelname, record.name] = series
        return series

    def close(self) -> None:
        if self._own:
            self._telemetry.close()
        super().close()
