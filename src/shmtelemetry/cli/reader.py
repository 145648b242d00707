"""shmtel reader"""

import logging
import os
import signal
from typing import TYPE_CHECKING, Any, Final

import click

from ..heaps import share_heap
from ..logs import Log, set_level
from ..signals import caught_signals
from . import options, reading, settings

if TYPE_CHECKING:
    from ..exporters.shown import Shown
    from ..listen import Protection
    from ..sidecar import Sidecar

logger = logging.getLogger("shmtelemetry")

RELOADED: Final = ("max_series", "gauge_ttl", "include", "exclude", "const_label", "log_level")  # by SIGHUP


@click.command("reader")
@options.namespace
@options.listen
@reading.interval
@click.option("--once", is_flag=True, help="Drain, print the text exposition, and exit.")
@reading.state
@reading.protection
@reading.shown
@options.setting(
    "--no-windows", is_flag=True, help="Keep and show no rates, quantiles and maxima of the last 1, 10 and 60 s."
)
@reading.log("warning")
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
    log_format: str,
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

    Log(log_level, log_format, "shmtel-reader", reader["namespace"]).begin()
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

    share_heap()
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
    set_level(anew["log_level"])
    logger.info("settings are read again")
    for name in anew:
        if name not in RELOADED and anew[name] != ctx.params[name]:
            logger.warning("%s changes with the reader's next start only", name.replace("_", "-"))
