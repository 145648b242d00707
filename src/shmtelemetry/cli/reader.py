"""shmtel reader"""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click

from . import options


@click.command("reader")
@options.namespace
@options.listen
@click.option(
    "--interval",
    type=float,
    metavar="SECONDS",
    envvar="SHMTEL_INTERVAL",
    show_envvar=True,
    help="Longest sleep between polls, less than 1; by default 1 ms with traffic and 4 ms without.",
)
@click.option("--once", is_flag=True, help="Drain, print the text exposition, and exit.")
@click.option(
    "--ephemeral",
    is_flag=True,
    envvar="SHMTEL_EPHEMERAL",
    show_envvar=True,
    help="Forget all totals at the end.",
)
@click.option(
    "--reset-state",
    is_flag=True,
    help="Start from zero; the state that there is, good or bad, is kept aside, and ls shows it.",
)
@click.option(
    "--insecure",
    is_flag=True,
    envvar="SHMTEL_INSECURE",
    show_envvar=True,
    help="Let --listen be an address that others can reach, without any protection.",
)
def command(
    namespace: str,
    listen: str,
    interval: float | None,
    once: bool,
    ephemeral: bool,
    reset_state: bool,
    insecure: bool,
) -> None:
    """Drain a namespace, and serve what it aggregates for Prometheus.

    Serves /metrics, /health, /health/ready and /health/live, and prints where. SIGTERM and SIGINT drain what
    is published, keep the totals for the next reader, and exit 0. There is one reader a namespace: a second
    one exits 1 and names the pid of the first. A state that is damaged, cut short, of another release or no
    state at all is left as it is, and the reader exits 1 and says so, unless --reset-state is given.

    \b
    Example:
      shmtel reader --namespace bot-a --listen 127.0.0.1:8000
      shmtel reader --namespace bot-a --once
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    if once:
        _print_once(namespace, ephemeral, interval, reset_state)
    else:
        _serve(namespace, listen, ephemeral, interval, reset_state, insecure)


def _print_once(namespace: str, ephemeral: bool, interval: float | None, reset_state: bool) -> None:
    from ..exporters.prometheus import expose
    from ..reader import Reader

    with options.wrong_use():
        reader = Reader(namespace, ephemeral=ephemeral, interval=interval, reset_state=reset_state)
    with reader:
        reader.poll()
        click.echo(expose(reader.snapshot(distributions=False)), nl=False)


def _serve(
    namespace: str, listen: str, ephemeral: bool, interval: float | None, reset_state: bool, insecure: bool
) -> None:
    from ..sidecar import Sidecar

    with ending_signals() as signals:
        with options.wrong_use():
            sidecar = Sidecar(namespace, listen, ephemeral, interval, insecure, reset_state)
        with sidecar:
            click.echo(f"listening on {sidecar.url}")
            os.read(signals, 1)


@contextmanager
def ending_signals() -> Iterator[int]:
    """A file descriptor that becomes readable with SIGTERM and SIGINT, which do nothing else meanwhile.

    The kernel may give a signal to any thread, such as one of numpy's: only a descriptor wakes the main one.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
