"""shmtel serve"""

import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from . import ingest, ingest_csv, options, reading, settings

if TYPE_CHECKING:
    from ..logs import Log
    from ..service.settings import ServiceSettings

READING: Final = ("interval", "ephemeral", "max_series", "gauge_ttl", "label_producer")  # as Reader has them
DAY: Final = 86400.0  # seconds
PROTECTION: Final = ("insecure", "token_file", "allowed_host", "tls_cert", "tls_key", "tls_client_ca")


class Listen(click.Option):
    """--listen, which also takes its host and its port from two variables of their own."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        if listen := os.environ.get("SHMTEL_LISTEN"):
            return listen
        host, port = os.environ.get("API_HOST"), os.environ.get("API_PORT")
        if not host and not port:
            return None
        host = host or "127.0.0.1"
        return f"[{host}]:{port or 8000}" if ":" in host else f"{host}:{port or 8000}"


class Names(click.ParamType):  # type: ignore[type-arg]  # which older versions of click do not have
    """One of several; in one variable they are separated by commas or blanks."""

    name = "text"

    def split_envvar_value(self, rv: str) -> list[str]:
        return re.findall(r"[^\s,]+", rv)


@click.command("serve")
@options.namespace
@options.setting(
    "--listen", "API_HOST", "API_PORT", cls=Listen, metavar="HOST:PORT", default="127.0.0.1:8000",
    help="Where to serve; port 0 takes a free one.",
)  # fmt: skip
@options.setting(
    "--workers", "API_WORKERS", type=click.IntRange(1, 64), metavar="N", default=1,
    help="Processes that answer; with more than one, a further process reads.",
)  # fmt: skip
@options.setting(
    "--attach", type=Names(), multiple=True, metavar="NS",
    help="Show this namespace as well, whose reader runs elsewhere on this machine; repeatable.",
)  # fmt: skip
@options.setting(
    "--collection-interval", "METRIC_COLLECTION_INTERVAL",
    type=click.FloatRange(0.001, 60), metavar="SECONDS", default=0.1,
    help="Between two updates; who asks in between sees the same figures.",
)  # fmt: skip
@options.setting(
    "--cors-origin", "CORS_ORIGINS", type=Names(), multiple=True, metavar="ORIGIN",
    help="Let pages of this origin ask, such as http://localhost:3000; repeatable.",
)  # fmt: skip
@options.setting(
    "--ws-max-connections", "WS_MAX_CONNECTIONS", type=click.IntRange(1, 65_536), metavar="N", default=1000,
    help="WebSockets of all workers together.",
)  # fmt: skip
@options.setting(
    "--ws-heartbeat-interval", "WS_HEARTBEAT_INTERVAL",
    type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", default=15.0,
    help="Between two signs of life over a WebSocket.",
)  # fmt: skip
@options.setting(
    "--ws-message-queue-size", "WS_MESSAGE_QUEUE_SIZE", type=click.IntRange(1, 1_000_000), metavar="N", default=1000,
    help="Messages that may wait for one client before the oldest is dropped.",
)  # fmt: skip
@options.setting(
    "--state-dir", metavar="FOLDER",
    help="Of history, alerts and the log; by default $XDG_STATE_HOME/shmtelemetry, else ~/.local/state/shmtelemetry.",
)  # fmt: skip
@options.setting(
    "--keep-events", type=click.FloatRange(min=0, min_open=True), metavar="DAYS", default=30.0,
    help="After which events go: trades, orders.",
)  # fmt: skip
@options.setting(
    "--csv", metavar="FILE", help="Follow this telemetry log as well, as shmtel ingest csv FILE --follow does."
)
@options.setting("--rules", metavar="FILE", help="Rules of alerts, TOML; by default those of the package.")
@reading.interval
@reading.state
@reading.protection
@reading.shown
@reading.log("info", "json")
@options.allow_uid
@settings.file
@click.pass_context
def command(ctx: click.Context, /, listen: str, workers: int, reset_state: bool, csv: str | None, **said: Any) -> None:
    """Drain a namespace as `shmtel reader` does, and serve it by REST and WebSocket.

    Prints where it listens; /docs there lists what can be asked. SIGTERM and SIGINT drain what is published, keep
    the totals for the next reader, and exit 0. SIGHUP reads the settings' file, the token and the certificates again.
    If the namespace is read by another process, exits 1: use --attach to look at it.

    \b
    Example:
      shmtel serve --namespace bot-a --listen 127.0.0.1:8000
      shmtel serve --csv telemetry.log
      shmtel serve --namespace bot-a --attach bot-b --attach bot-c --workers 4
      shmtel serve --listen 0.0.0.0:8000 --token-file token --allowed-host telemetry.example.com
      API_HOST=127.0.0.1 API_PORT=8000 API_WORKERS=4 CORS_ORIGINS=http://localhost:3000 shmtel serve
    """
    with options.wrong_use():
        chosen = _made_of(ctx.params)
    beside = _following(ctx, csv, chosen.log) if csv else nullcontext()
    begin = _serving().Serving
    with options.wrong_use():
        serving = begin(chosen, listen, reset_state)
    with serving, beside:
        serving.run(lambda url: click.echo(f"listening on {url}"), workers, lambda: _anew(ctx))


def _following(ctx: click.Context, file: str, log: "Log") -> AbstractContextManager[object]:
    """What follows a file, with the settings that `shmtel ingest csv` has."""
    from ..sources.csv.beside import Beside

    chosen = ctx.meta[settings.CHOSEN]
    arguments = [file, "--follow", "--namespace", ctx.params["namespace"], *(["--config", chosen] if chosen else [])]
    with click.Context(ingest.command, ctx.find_root(), "ingest") as group:
        of_csv = ingest_csv.command.make_context("csv", arguments, group)
        return Beside(ingest_csv.chosen(of_csv.params), log)


def from_environment() -> "ServiceSettings":
    """The settings of a service that no command line started. Ends the process with one line for a bad one."""
    from . import main

    try:
        ctx = command.make_context("serve", [], click.Context(main, info_name="shmtel"))
        with options.wrong_use():
            return _made_of(ctx.params)
    except click.UsageError as error:
        raise SystemExit(f"shmtel serve: {' '.join(error.format_message().split())}") from error


def _anew(ctx: click.Context) -> "ServiceSettings":
    """Raises ValueError."""
    try:
        return _made_of(settings.anew(ctx))
    except click.UsageError as error:
        raise ValueError(error.format_message()) from error


def _made_of(params: Mapping[str, Any]) -> "ServiceSettings":
    """Raises ValueError for what cannot be."""
    from ..listen import Protection
    from ..segment import check_name
    from ..service.database import state_folder
    from ..service.settings import ServiceSettings

    for name in (params["namespace"], *params["attach"]):
        check_name("namespace", name)
    protection = Protection(*(params[name] for name in PROTECTION))
    state_dir = params["state_dir"]
    reader = {name: params[name] for name in READING}
    reader["allow_uids"] = params["allow_uid"]
    return ServiceSettings(
        namespace=params["namespace"],
        attached=params["attach"],
        interval=params["collection_interval"],
        protection=protection,
        cors_origins=params["cors_origin"],
        ws_max_connections=params["ws_max_connections"],
        ws_heartbeat_interval=params["ws_heartbeat_interval"],
        ws_message_queue_size=params["ws_message_queue_size"],
        state_dir=Path(state_dir) if state_dir else state_folder(),
        rules=Path(params["rules"]) if params["rules"] else None,
        keep_events=params["keep_events"] * DAY,
        shown=(params["include"], params["exclude"], params["const_label"]),
        log_level=params["log_level"],
        log_format=params["log_format"],
        reader=reader,
    )


def _serving() -> Any:
    try:
        from .. import serving
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "shmtelemetry":
            raise
        raise click.ClickException(f"there is no {error.name}: pip install 'shmtelemetry[service]'") from error
    return serving
