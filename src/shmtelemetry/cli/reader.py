"""shmtel reader"""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from . import options, settings

if TYPE_CHECKING:
    from ..exporters.shown import Shown
    from ..listen import Protection
    from ..sidecar import Sidecar

logger = logging.getLogger("shmtelemetry")

RELOADED: Final = ("max_series", "gauge_ttl", "include", "exclude", "const_label", "log_level")  # by SIGHUP


@click.command("reader")
@options.namespace
@options.listen
@options.setting(
    "--interval",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SECONDS",
    help="Longest sleep between polls; by default 1 ms with traffic and 4 ms without.",
)
@click.option("--once", is_flag=True, help="Drain, print the text exposition, and exit.")
@options.setting("--ephemeral", is_flag=True, help="Forget all totals at the end.")
@click.option(
    "--reset-state",
    is_flag=True,
    help="Start from zero; the state that there is, good or bad, is kept aside, and ls shows it.",
)
@options.setting(
    "--insecure", is_flag=True, help="Let --listen be an address that others can reach, without any protection."
)
@options.setting(
    "--token-file",
    metavar="FILE",
    help="Give /metrics only to who sends the token in this file, as Authorization: Bearer; health probes need none.",
)
@options.setting(
    "--allowed-host",
    multiple=True,
    metavar="NAME",
    help="Answer only to this name in the Host header, on loopback to those of this machine as well; repeatable.",
)
@options.setting("--tls-cert", metavar="FILE", help="Serve https with this certificate, PEM, with its chain.")
@options.setting("--tls-key", metavar="FILE", help="Key of --tls-cert, PEM, without a password.")
@options.setting(
    "--tls-client-ca",
    metavar="FILE",
    help="Let only clients in whose certificate one of these authorities signed, PEM.",
)
@options.setting(
    "--max-series",
    type=click.IntRange(min=1),
    metavar="N",
    default=100_000,
    help="Series of the namespace; label sets beyond are counted together in one series a metric, labelled overflow.",
)
@options.setting(
    "--gauge-ttl",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=300.0,
    help="After which a gauge expires that no living producer has; inf for never.",
)
@options.setting(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Show only metrics whose name matches, such as 'orders_*', the reader's own shmtel_* among them; repeatable.",
)
@options.setting(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Show no metric whose name matches; repeatable.",
)
@options.setting(
    "--const-label",
    type=options.Pair(),
    multiple=True,
    help="Label for every series that is shown; a metric with a label of that name keeps its own; repeatable.",
)
@options.setting(
    "--label-producer",
    is_flag=True,
    help="Keep the series of each producer apart by the label producer, instead of adding them up.",
)
@options.setting(
    "--no-windows", is_flag=True, help="Keep and show no rates, quantiles and maxima of the last 1, 10 and 60 s."
)
@options.setting(
    "--log-level",
    "LOG_LEVEL",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    default="warning",
    help="What is said on stderr.",
)
@options.allow_uid
@settings.file
@click.pass_context
def command(
    ctx: click.Context,
    /,
    listen: str,
    once: bool,
    insecure: bool,
    token_file: str | None,
    allowed_host: tuple[str, ...],
    tls_cert: str | None,
    tls_key: str | None,
    tls_client_ca: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    const_label: tuple[tuple[str, str], ...],
    no_windows: bool,
    log_level: str,
    allow_uid: tuple[int, ...],
    **reader: Any,
) -> None:
    """Drain a namespace, and serve what it aggregates for Prometheus.

    Serves /metrics, /health, /health/ready and /health/live, and prints where. SIGTERM and SIGINT drain what
    is published, keep the totals for the next reader, and exit 0. SIGHUP reads the settings' file, the token
    and the certificates again. There is one reader a namespace: a second one exits 1 and names the pid of the
    first. A state that is damaged, cut short, of another release or no state at all stays as it is: the reader
    exits 1, unless --reset-state is given.

    \b
    Example:
      shmtel reader --namespace bot-a --listen 127.0.0.1:8000
      shmtel reader --namespace bot-a --once
      shmtel reader --exclude 'shmtel_*' --const-label env=prod --gauge-ttl 300
      SHMTEL_NAMESPACE=bot-a SHMTEL_CONST_LABEL='env=prod desk="fx spot"' shmtel reader
      shmtel reader --config bot-a.toml
      shmtel reader --listen 0.0.0.0:9100 --token-file token --tls-cert server.pem --tls-key server.key

    \b
    The last but one of these with the file
      [reader]
      namespace = "bot-a"
      const-label = ["env=prod", "desk=fx spot"]
    """
    from ..exporters.shown import Shown
    from ..listen import Protection

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    with options.wrong_use():
        shown = Shown(include, exclude, const_label)
        protection = Protection(insecure, token_file, allowed_host, tls_cert, tls_key, tls_client_ca)
    reader |= {"windows": not (no_windows or once), "allow_uids": allow_uid, "guard": True}
    if once:
        _print_once(shown, reader)
    else:
        _serve(ctx, listen, protection, shown, reader)


def _print_once(shown: "Shown", settings: dict[str, Any]) -> None:
    from ..exporters.prometheus import expose
    from ..reader import Reader

    with options.wrong_use():
        reader = Reader(**settings)
    with reader:
        reader.poll()
        click.echo(expose(shown(reader.snapshot(distributions=False))), nl=False)


def _serve(ctx: click.Context, listen: str, protection: "Protection", shown: "Shown", reader: dict[str, Any]) -> None:
    from ..sidecar import Sidecar

    with caught_signals() as signals:
        with options.wrong_use():
            sidecar = Sidecar(listen=listen, protection=protection, shown=shown, **reader)
        with sidecar:
            click.echo(f"listening on {sidecar.url}")
            while os.read(signals, 1)[0] == signal.SIGHUP:
                _reload(ctx, sidecar)


def _reload(ctx: click.Context, sidecar: "Sidecar") -> None:
    """Take over what the settings' file says now; one that cannot be used changes nothing."""
    from ..exporters.shown import Shown

    try:
        anew = settings.anew(ctx)
        with options.wrong_use():
            shown = Shown(anew["include"], anew["exclude"], anew["const_label"])
            sidecar.read_files()
            sidecar.reader.bound(anew["max_series"], anew["gauge_ttl"])
    except click.UsageError as error:
        logger.error("settings stay as they were: %s", error.format_message())
        return
    sidecar.shown = shown
    logging.getLogger().setLevel(anew["log_level"].upper())
    logger.info("settings are read again")
    for name in anew:
        if name not in RELOADED and anew[name] != ctx.params[name]:
            logger.warning("%s changes with the reader's next start only", name.replace("_", "-"))


@contextmanager
def caught_signals() -> Iterator[int]:
    """A file descriptor with the numbers of SIGTERM, SIGINT and SIGHUP as bytes; they do nothing else meanwhile.

    The kernel may give a signal to any thread, such as one of numpy's: only a descriptor wakes the main one.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    caught = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
    before = {number: signal.signal(number, lambda *_: None) for number in caught}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
