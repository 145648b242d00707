"""Records of the standard library's log, counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.contrib.logging import MAX_LOGGERS, CountingHandler


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """One that says nothing elsewhere."""
    logger = logging.getLogger(request.node.name)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers.clear()


def test_records_are_counted_by_level_and_logger(namespace: str, log: logging.Logger) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as reader:
        log.addHandler(CountingHandler(telemetry, logging.INFO))
        for _ in range(100):
            log.warning("%s", "slow")
        log.getChild("db").error("lost")
        log.debug("not this one")
        log.log(35, "between")
        reader.poll()
        seen = reader.snapshot()
    assert seen.value("log_records_total", level="warning", logger=log.name) == 100
    assert seen.value("log_records_total", level="error", logger=f"{log.name}.db") == 1
    assert seen.value("log_records_total", level="level 35", logger=log.name) == 1
    assert len(seen.families["log_records_total"].labels) == 3


def test_loggers_that_are_told_apart_are_bounded(namespace: str, log: logging.Logger) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as reader:
        handler = CountingHandler(telemetry)
        for number in range(MAX_LOGGERS + 20):
            handler.handle(logging.LogRecord(f"logger-{number}", logging.INFO, "", 0, "", None, None))
        reader.poll()
        seen = reader.snapshot()
    assert seen.value("log_records_total", level="info", logger="overflow") == 20


def test_a_handler_of_its_own_leaves_nothing(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHMTEL_NAMESPACE", namespace)
    with Reader(namespace, ephemeral=True) as reader:
        handler = CountingHandler()
        handler.handle(logging.LogRecord("a", logging.INFO, "", 0, "", None, None))
        handler.close()
        reader.poll()
        assert reader.snapshot().value("log_records_total", level="info", logger="a") == 1
