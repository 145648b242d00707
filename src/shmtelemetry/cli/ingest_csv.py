"""shmtel ingest csv"""

import json
import logging
import os
import select
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from ..logs import Log
from ..signals import caught_signals
from . import ingesting, options, reading, settings

if TYPE_CHECKING:
    from ..sources.csv.ingest import Settings, Summary

logger = logging.getLogger("shmtelemetry")

IDS: Final = ("producer_id", "consumer_id", "network_type")


def asks_to_end(signals: int, seconds: float) -> bool:
    """Whether SIGTERM or SIGINT has come, at the latest after so many seconds."""
    while select.select([signals], [], [], seconds)[0]:
        if os.read(signals, 1)[0] != signal.SIGHUP:
            return True
        seconds = 0.0
    return False


def chosen(params: Mapping[str, Any]) -> "Settings":
    """What the command's parameters say. Raises click.UsageError for what cannot be."""
    from ..segment import check_name
    from ..sources.csv.columns import read_columns, telemetry_log
    from ..sources.csv.ingest import Settings, intake_name

    with options.wrong_use():
        check_name("namespace", params["namespace"])
        check_name("producer", intake_name(params["producer"]))
        map = params["columns"]
        columns = read_columns(map) if map else telemetry_log(*(params[name] for name in IDS))
        columns.schema.metrics(params["producer"])
        said = {name: params[name] for name in ("namespace", "producer", "follow", "from_start")}
        return Settings(params["file"], columns, **said)


@click.command("csv")
@click.argument("file", required=False)
@click.option("--follow", is_flag=True, help="Go on when more is written, until SIGTERM or Ctrl-C.")
@click.option(
    "--from-start", is_flag=True,
    help="With --follow, where nothing of the file is taken yet: take all that is in it, not only its last row.",
)  # fmt: skip
@options.namespace
@options.setting("--producer", metavar="NAME", default="csv", help="Whose the records are; one name follows one file.")
@options.setting(
    "--columns", metavar="FILE", help="What the columns mean, TOML; by default the twelve of a telemetry log."
)
@options.setting("--producer-id", metavar="ID", default="unknown", help="Label producer_id of orders_produced_total.")
@options.setting("--consumer-id", metavar="ID", default="unknown", help="Label consumer_id of orders_consumed_total.")
@options.setting(
    "--network-type", metavar="TYPE", default="unknown", help="Label network_type of network_dropped_packets_total."
)
@click.option("--generate", metavar="FILE", help="Write a sample file instead: what a run of the demo measures.")
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), metavar="N", default=10.0, show_default=True,
    help="How long --generate runs.",
)  # fmt: skip
@reading.log("info")
@options.as_json
@settings.file
@click.pass_context
def command(
    ctx: click.Context, /, file: str | None, generate: str | None, seconds: float, as_json: bool, **said: Any
) -> None:
    """Take the rows of a CSV file, each as one record.

    Follows the file through rotation (by renaming or by copying and truncating) and goes on where it stopped, however
    it was ended: no row is taken twice, and none is left out. Lines that cannot be used are counted by reason, and the
    first few are told. Gzip files are unpacked. Without --follow it ends at the file's end. Exits 0 then, and after
    SIGTERM or Ctrl-C.

    \b
    Keys of --json, one object at the end:
      rows       that were taken
      rejected   reason → lines that were refused
      bytes      that were read of the files
      seconds    that it took

    \b
    Example:
      shmtel ingest csv telemetry.log --follow --from-start --producer-id engine-1 --network-type multicast
      shmtel ingest csv yesterday.csv.gz --columns columns.toml --json
      shmtel ingest csv --generate telemetry.log --seconds 30

    \b
    A file for --columns, whose tables stand in the order of the columns:
      [columns.at]
      role = "time"             # or counter, total, gauge, histogram, label, ignore
      unit = "ms"
      [columns.symbol]
      role = "label"
      [columns.latency]
      role = "histogram"
      name = "order_latency_seconds"
      unit = "us"
    """
    if (file is None) == (generate is None):
        raise click.UsageError("expected either FILE or --generate FILE")
    if generate is not None:
        _generate(generate, seconds, as_json)
    else:
        settings = chosen(ctx.params)
        Log(said["log_level"], said["log_format"], ingesting.SERVICE, settings.namespace).begin()
        _ingest(settings, as_json)


def _ingest(settings: "Settings", as_json: bool) -> None:
    from ..sources.csv.ingest import ingest

    with caught_signals() as signals:
        summary = ingest(settings, lambda seconds: asks_to_end(signals, seconds), _say, _show)
    if as_json:
        click.echo(json.dumps(summary.as_json()))
    else:
        click.echo(_line(summary))


def _say(line: str) -> None:
    click.echo(_clear(), err=True, nl=False)
    logger.warning(line)


def _show(summary: "Summary") -> None:
    if sys.stderr.isatty():
        click.echo(f"{_clear()}{_line(summary)}", err=True, nl=False)


def _clear() -> str:
    return "\r\x1b[K" if sys.stderr.isatty() else ""


def _line(summary: "Summary") -> str:
    refused = ", ".join(f"{count:,} {reason}" for reason, count in summary.rejected.items())
    return f"{summary.rows:,} rows in {summary.seconds:.1f} s, refused: {refused or 'none'}"


def _generate(path: str, seconds: float, as_json: bool) -> None:
    from ..demo.telemetry_log import write_log

    with caught_signals() as signals:
        rows = write_log(path, seconds, lambda wait: asks_to_end(signals, wait))
    click.echo(json.dumps({"rows": rows}) if as_json else f"{rows:,} rows in {path}")
