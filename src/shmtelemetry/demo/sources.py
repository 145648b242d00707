"""The process that takes what bots report, as `shmtel ingest zmq` and `shmtel ingest statsd` do."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from shmtelemetry.demo.reporting import STATSD_NAME, ZMQ_NAME
from shmtelemetry.demo.services import READY, receive, say
from shmtelemetry.sources.statsd import StatsdSource
from shmtelemetry.sources.zmq import ZmqSource
from shmtelemetry.telemetry import Telemetry

_BOTS = "bots"  # whose messages do not say which one sent them
_FLUSH_SECONDS = 10.0  # of StatsD's sets


def run_sources(parent: Connection, namespace: str, folder: Path) -> None:
    """Takes reports until told to stop: those over ZeroMQ by way of a broker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with (
        Telemetry("ingest-zmq", namespace) as by_zmq,
        Telemetry("ingest-broker", namespace) as by_broker,
        Telemetry("ingest-statsd", namespace) as by_statsd,
        ZmqSource(by_zmq, "tcp://127.0.0.1:*", _BOTS, None, None) as zmq,
        ZmqSource(by_broker, f"ipc://{folder / ZMQ_NAME}", _BOTS, None, zmq.address) as broker,
        StatsdSource(by_statsd, None, str(folder / STATSD_NAME), _FLUSH_SECONDS) as statsd,
        _running(zmq.run),
        _running(broker.run),
        _running(statsd.run),
    ):
        say(parent, (READY,))
        receive(parent)
    say(parent, [])


@contextmanager
def _running(run: Callable[[int], None]) -> Iterator[None]:
    """A source in a thread, which a byte on its descriptor ends as a signal would."""
    signals, ender = os.pipe()
    thread = threading.Thread(target=run, args=(signals,))
    thread.start()
    try:
        yield
    finally:
        os.write(ender, bytes((signal.SIGTERM,)))
        thread.join()
        os.close(ender)
        os.close(signals)
