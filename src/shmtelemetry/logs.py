"""The log of a process: lines for a person, or one JSON object a line with the names of the Elastic Common Schema.

https://www.elastic.co/docs/reference/ecs/ecs-field-reference
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from .version import VERSION

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
FORMATS: Final = ("text", "json")
ECS_VERSION: Final = "1.6.0"  # from which on all names used here are there

_TEXT: Final = "%(asctime)s %(levelname)s %(message)s"
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_TRACE: ContextVar[Mapping[str, str]] = ContextVar("trace")
# https://www.w3.org/TR/trace-context/#traceparent-header; a later version may say more behind the flags
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?=$|-)"
)


@dataclass(frozen=True, slots=True)
class Log:
    """How a process logs. level: one of LEVELS. format: one of FORMATS. service, namespace: of every JSON line."""

    level: str
    format: str
    service: str
    namespace: str

    def begin(self, *files: logging.Handler) -> None:
        """Log on stderr from now on, instead of what was set up before. files: get lines of JSON in any case."""
        json_lines = JsonLines(self.service, self.namespace)
        stderr = logging.StreamHandler(sys.stderr)
        stderr.setFormatter(json_lines if self.format == "json" else logging.Formatter(_TEXT))
        for file in files:
            file.setFormatter(json_lines)
        logging.basicConfig(handlers=[stderr, *files], force=True)
        set_level(self.level)


def set_level(level: str) -> None:
    root = logging.getLogger()
    root.setLevel(level.upper())
    # What it says of each connection and at each start is nobody's news.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, root.level))


def begin_trace(traceparent: str | None) -> None:
    """What this thread or task logs from now on belongs to the trace that a request's header says, or to none."""
    found = _TRACEPARENT.match(traceparent or "")
    whole = found is not None and (found[0][:2] != "00" or found.end() == len(found.string))
    _TRACE.set({"trace.id": found[1], "span.id": found[2]} if found and whole else {})


class JsonLines(logging.Formatter):
    """What `extra` says beside: names with a dot are fields of the schema, all others become labels."""

    def __init__(self, service: str, namespace: str) -> None:
        super().__init__()
        self._said = {"ecs.version": ECS_VERSION, "service.name": service, "service.version": VERSION}
        self._labels = {"labels.namespace": namespace}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "log.level": record.levelname.lower(),
            "message": record.getMessage(),
            **self._said,
            "log.logger": record.name,
            "process.pid": record.process,
            "process.thread.name": record.threadName,
            **_TRACE.get({}),
            **self._labels,
            **self._error(record),
        }
        for name in vars(record).keys() - _OWN:
            line.setdefault(*_field(name, getattr(record, name)))
        # JSON escapes what would end the line, and half a character.
        return json.dumps(line, separators=(",", ":"))

    def _error(self, record: logging.LogRecord) -> dict[str, Any]:
        kind, error, _ = record.exc_info or (None, None, None)
        if kind is None or record.exc_info is None:
            return {}
        trace = self.formatException(record.exc_info)  # with what caused it
        return {"error.type": kind.__name__, "error.message": str(error), "error.stack_trace": trace}


def _field(name: str, value: object) -> tuple[str, object]:
    if "." not in name:
        return f"labels.{name}", str(value)
    return name, value if isinstance(value, int) else str(value)
