"""Lines of the log, held to the formatter that Elastic itself makes."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

pytest.importorskip("ecs_logging")

from ecs_logging import StdlibFormatter

from shmtelemetry.logs import JsonLines, begin_trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OURS = {"service.name": "shmtel-reader", "labels.namespace": "bot-a"}


def line(record: logging.LogRecord) -> dict[str, Any]:
    text = JsonLines("shmtel-reader", "bot-a").format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def record(**more: Any) -> logging.LogRecord:
    try:
        raise ValueError("why\nnot")
    except ValueError:
        made = logging.LogRecord(
            "shmtelemetry", logging.ERROR, "x.py", 1, "two\nlines of %s", ("ü\udc80",), sys.exc_info()
        )
    vars(made).update(more)
    return made


def test_fields_are_called_and_valued_as_elastics_formatter_has_them() -> None:
    ours = line(record(**{"url.path": "/metrics"}))
    theirs = dict(flat(json.loads(StdlibFormatter(extra=OURS).format(record(**{"url.path": "/metrics"})))))
    differing = {"@timestamp", "error.stack_trace", "service.version"}
    assert {name: theirs[name] for name in ours if name not in differing} == {
        name: value for name, value in ours.items() if name not in differing
    }
    assert ours["@timestamp"][:19] == theirs["@timestamp"][:19]
    assert theirs["error.stack_trace"] in ours["error.stack_trace"]
    assert list(ours)[:3] == list(json.loads(StdlibFormatter().format(record())))[:3]  # for people who look at a file


def test_what_is_said_beside_cannot_hide_a_field() -> None:
    beside = {"url.path": float("inf"), "event.duration": 5, "log.level": "ours"}
    said = line(record(service="x", error=float("nan"), log=None, **beside))
    assert (said["labels.service"], said["labels.error"], said["labels.log"]) == ("x", "nan", "None")
    assert (said["url.path"], said["event.duration"]) == ("inf", 5)
    assert (said["service.name"], said["log.level"]) == ("shmtel-reader", "error")


def test_a_cause_is_told_too() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error
    except ValueError:
        made = logging.LogRecord("a", logging.ERROR, "x.py", 1, "failed", (), sys.exc_info())
    said = line(made)
    assert (said["error.type"], said["error.message"]) == ("ValueError", "second")
    assert "KeyError: 'first'" in said["error.stack_trace"]


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-a-later-version-says", True),
        (None, False),
        ("", False),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}-01\n", False),
        (f"00-{TRACE}-{SPAN}", False),
    ],
)
def test_a_trace_is_taken_from_a_header_that_is_one(header: str | None, known: bool) -> None:
    begin_trace(header)
    said = line(record())
    begin_trace(None)
    assert [said.get("trace.id"), said.get("span.id")] == ([TRACE, SPAN] if known else [None, None])
