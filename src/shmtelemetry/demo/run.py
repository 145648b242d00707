"""Runs the demo: the four services, and in this process the reader, its web page and what is printed."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Final, TextIO

from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.demo.accounts import Account, as_rows, settle_account, table
from shmtelemetry.demo.platform import Platform
from shmtelemetry.demo.services import SERVICE_NAMES, Report, say
from shmtelemetry.sidecar import Sidecar

DEFAULT_LISTEN: Final = "127.0.0.1:8000"
DEFAULT_RATE: Final = 12_000  # market data messages a second

_SETTLE_SECONDS: Final = 10.0


def run_demo(
    seconds: float | None = None,
    listen: str = DEFAULT_LISTEN,
    rate: int = DEFAULT_RATE,
    as_json: bool = False,
) -> int:
    """Runs the trading platform; prints a line a second, and the accounts in the end.

    seconds: how long market data flows; None is until Ctrl-C or SIGTERM, which end it early in any case.
    listen: HOST:PORT of the web server with ``/metrics``; port 0 takes a free one.
    rate: market data messages a second; each causes about a dozen records.
    as_json: everything for people goes to stderr, and the last line on stdout is one JSON object.

    Returns the exit code: 0 if every service came to its regular end and every record is accounted for, or 1.
    Must be called in the main thread, because it handles signals.
    """
    out = sys.stderr if as_json else sys.stdout
    namespace = f"demo-{os.getpid()}"
    with (
        _stop_requests() as stop_request,
        Sidecar(namespace, listen=listen, ephemeral=True) as sidecar,
        Platform(namespace, rate) as platform,
    ):
        try:
            platform.start()
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        metrics_url = f"{sidecar.url}/metrics"
        print(
            f"four services are running in namespace {namespace}; metrics: {metrics_url}",
            file=out,
            flush=True,
        )
        started = time.monotonic()
        platform.go()
        _watch(sidecar, platform, stop_request, seconds, out)
        reports = platform.stop()
        elapsed = time.monotonic() - started
        if not sidecar.reader.settle(timeout=_SETTLE_SECONDS):
            print("error: the reader did not come to an end with every producer", file=sys.stderr)
        accounts = _accounts(reports, sidecar.reader.snapshot())
    records_per_second = sum(account.attempted for account in accounts) / elapsed
    _print_end(accounts, records_per_second, out)
    if as_json:
        result = {
            "producers": as_rows(accounts),
            "records_per_second": round(records_per_second, 1),
            "metrics_url": metrics_url,
        }
        print(json.dumps(result), flush=True)
    return 0 if _all_well(accounts) else 1


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


def _watch(
    sidecar: Sidecar, platform: Platform, stop_request: Connection, seconds: float | None, out: TextIO
) -> None:
    """Prints a line a second until the time is over, somebody asks to stop, or a service ends by itself."""
    started = time.monotonic()
    end = math.inf if seconds is None else started + seconds
    next_line = started + 1.0
    line = _LiveLine(sidecar.reader.snapshot())
    while not wait([stop_request, *platform.sentinels], max(0.0, min(next_line, end) - time.monotonic())):
        now = time.monotonic()
        if now >= end:
            break
        if now >= next_line:
            print(line.after(1.0, sidecar.reader.snapshot()), file=out, flush=True)
            next_line += 1.0


def _accounts(reports: list[Report], snapshot: Snapshot) -> list[Account]:
    return [settle_account(report, snapshot.producers[report.name]) for report in reports]


def _all_well(accounts: list[Account]) -> bool:
    return len(accounts) == len(SERVICE_NAMES) and all(account.holds for account in accounts)


def _print_end(accounts: list[Account], records_per_second: float, out: TextIO) -> None:
    print(f"\n{table(accounts)}\n", file=out)
    print(f"{records_per_second:,.0f} records a second", file=out)
    for name in SERVICE_NAMES:
        if all(account.name != name for account in accounts):
            print(f"error: the service {name} did not come to its regular end", file=sys.stderr)
    for account in accounts:
        if not account.holds:
            print(f"error: the records of {account.name} do not add up", file=sys.stderr)
    out.flush()


class _LiveLine:
    """What happened since the line before."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._consumed = _consumed(snapshot)

    def after(self, seconds: float, snapshot: Snapshot) -> str:
        """The line for the time since the last one."""
        consumed = _consumed(snapshot)
        rate = (sum(consumed.values()) - sum(self._consumed.values())) / seconds
        self._consumed = consumed
        return f"{rate:10,.0f} records/s"


def _consumed(snapshot: Snapshot) -> dict[str, int]:
    return {name: totals.consumed for name, totals in snapshot.producers.items()}
