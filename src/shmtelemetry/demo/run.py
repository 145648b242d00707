"""Runs the demo: the four services, and in this process the reader, its web page and what is printed."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Final, TextIO

from shmtelemetry.aggregate.snapshot import ProducerTotals
from shmtelemetry.demo import DEFAULT_METRICS_PORT, DEFAULT_RATE, DEFAULT_ZMQ_PORT
from shmtelemetry.demo.accounts import Account, as_rows, settle_account, table
from shmtelemetry.demo.control import Control
from shmtelemetry.demo.live import LiveLine
from shmtelemetry.demo.platform import Platform, ServiceError, apart, together
from shmtelemetry.demo.services import PRODUCER_NAMES, PRODUCERS, Report, say
from shmtelemetry.demo.web import Web, platform_web, web

DEFAULT_LISTEN: Final = "127.0.0.1:8000"

_SETTLE_SECONDS: Final = 10.0


def run_demo(
    seconds: float | None = None,
    listen: str = DEFAULT_LISTEN,
    rate: int = DEFAULT_RATE,
    as_json: bool = False,
    platform: bool = False,
    metrics_port: int = DEFAULT_METRICS_PORT,
    zmq_port: int = DEFAULT_ZMQ_PORT,
) -> int:
    """Runs the trading platform; prints a line a second, and the accounts in the end.

    seconds: how long market data flows; None is until Ctrl-C or SIGTERM, which end it early in any case.
    listen: HOST:PORT of the web server with the page and ``/metrics``; port 0 takes a free one.
    rate: market data messages a second; each causes about a dozen records.
    as_json: everything for people goes to stderr, and the last line on stdout is one JSON object.
    platform: each service has a namespace, a reader and a port of its own, as if they ran in four containers.
    metrics_port: of the first of them, the others follow; 0 takes free ones.
    zmq_port: of the first of the four sockets between the services; free ones where one of them is taken.

    Returns the exit code: 0 if every service came to its regular end and every record is accounted for, or 1.
    Must be called in the main thread, because it handles signals.
    """
    out = sys.stderr if as_json else sys.stdout
    try:
        namespace = f"demo-{os.getpid()}"
        services = apart(namespace) if platform else together(namespace)
        shown = platform_web(namespace, listen, services, metrics_port) if platform else web(namespace, listen)
        with _stop_requests() as stop_request, shown as there, Platform(services, rate, zmq_port=zmq_port) as running:
            outcome = _run(there, running, stop_request, seconds, out)
    except ServiceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\n{table(outcome.accounts)}\n\n{outcome.records_per_second:,.0f} records a second", file=out)
    for complaint in outcome.complaints:
        print(f"error: {complaint}", file=sys.stderr)
    if as_json:
        print(json.dumps(outcome.as_json()))
    return 1 if outcome.complaints else 0


@dataclass(frozen=True)
class _Outcome:
    accounts: list[Account]
    complaints: list[str]
    records_per_second: float
    page_url: str | None
    metrics_urls: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "producers": as_rows(self.accounts),
            "records_per_second": round(self.records_per_second, 1),
            "page_url": self.page_url,
            "metrics_urls": self.metrics_urls,
        }


def _run(shown: Web, platform: Platform, stop_request: Connection, seconds: float | None, out: TextIO) -> _Outcome:
    platform.start()
    page_url = None if shown.missing else f"{shown.url}/"
    page = page_url or f"none without {shown.missing}: pip install 'shmtelemetry[service]'"
    namespaces = ", ".join(reader.namespace for reader in shown.readers)
    pids = ", ".join(f"{name} {pid}" for name, pid in platform.pids.items())
    print(f"namespace {namespaces}\nprocesses: {pids}\npage: {page}", file=out)
    print(*(f"metrics: {url}" for url in shown.metrics.values()), sep="\n", file=out, flush=True)
    started = time.monotonic()
    platform.go()
    _watch(shown, platform, stop_request, seconds, out)
    reports = platform.stop()
    elapsed = time.monotonic() - started
    platform.join()
    settled = shown.settle(_SETTLE_SECONDS)
    accounts = _accounts(reports, shown.producers())
    attempted = sum(account.attempted for account in accounts)
    complaints = _complaints(accounts, reports, settled)
    return _Outcome(accounts, complaints, attempted / elapsed, page_url, tuple(shown.metrics.values()))


@contextmanager
def _stop_requests() -> Iterator[Connection]:
    """A pipe's end that becomes readable at SIGINT and SIGTERM, which do nothing else meanwhile."""
    request, requester = multiprocessing.Pipe(duplex=False)

    def ask(number: int, frame: FrameType | None) -> None:
        say(requester, number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        request.close()
        requester.close()


def _watch(shown: Web, platform: Platform, stop_request: Connection, seconds: float | None, out: TextIO) -> None:
    """Prints a line a second until the time is over, somebody asks to stop, or a service ends by itself."""
    started = now = time.monotonic()
    end = math.inf if seconds is None else started + seconds
    next_line = started + 1.0
    line = LiveLine(shown.snapshots())
    with closing(Control(platform.change)) as control:
        while now < end:
            ready = wait([stop_request, control.fileno(), *platform.sentinels], max(0.0, min(next_line, end) - now))
            if control.fileno() in ready:
                control.serve()
            elif ready:
                return
            now = time.monotonic()
            if now >= next_line:
                print(line.after(shown.snapshots()), file=out, flush=True)
                next_line += 1.0


def _accounts(reports: list[Report], producers: Mapping[str, ProducerTotals]) -> list[Account]:
    told = {report.name: report for report in reports}
    return [settle_account(producers[name], told.get(name)) for name in PRODUCER_NAMES]


def _complaints(accounts: list[Account], reports: list[Report], settled: bool) -> list[str]:
    """What is wrong, one line each."""
    told = {report.name for report in reports}
    missing = [service for service, names in PRODUCERS.items() if not told.issuperset(names)]
    complaints = [f"the service {name} did not come to its regular end" for name in missing]
    wrong = [account.name for account in accounts if not account.holds]
    complaints += [f"the records of {name} do not add up" for name in wrong]
    if not settled:
        complaints.append(f"after {_SETTLE_SECONDS:.0f} s the reader has still not read everything")
    return complaints
