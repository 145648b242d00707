"""shmtel tail"""

import os
import sys
import time

import click

from . import options, settings

LOOK = 0.05  # seconds between two looks at an idle ring
CHUNK = 1024  # records between two looks at what was missed


@click.command("tail")
@click.argument("producer")
@options.namespace
@click.option(
    "--filter", "filters", type=options.Pair(), multiple=True,
    help="Only records whose field, or label, has this value; several must all hold.",
)  # fmt: skip
@click.option("--last", type=click.IntRange(0), default=10, show_default=True, help="Records to begin with.")
@options.as_json
@settings.file
def command(producer: str, namespace: str, filters: tuple[tuple[str, str], ...], last: int, as_json: bool) -> int:
    """Follow a producer's records as they come, next to its reader, which does not notice.

    Records of instruments are shown with their metric, labels and time. What comes faster than it can be shown is
    missed, and stderr says how much. Follows the producer when it starts again. Ends with Ctrl-C.

    \b
    Keys of --json, one object a line: the record's fields; of instruments
      time_ns   nanoseconds since the epoch
      metric    its name
      labels    name → value
      value     as emitted; numbers that JSON has not are texts: "nan", "inf", "-inf"

    \b
    Example:
      shmtel tail market-data --namespace demo
      shmtel tail orders --filter symbol=AAPL --filter side=buy --json
    """
    from ..tap import Tap
    from .rows import Rows, to_json, to_line

    with options.wrong_use():
        tap = Tap(producer, namespace, last=last)
    shown, missed = to_json if as_json else to_line, 0
    rows = Rows(filters)
    with tap:
        if tap.dtype is None:
            raise click.ClickException(f"no segment of {producer} in namespace {namespace}: see shmtel ls")
        try:
            while True:
                count = 0
                for segment, records in tap.batches(CHUNK):
                    count += len(records)
                    sys.stdout.writelines(f"{shown(row)}\n" for row in rows.of(segment, records))
                sys.stdout.flush()
                if tap.missed > missed:
                    click.echo(f"shmtel: missed {tap.missed - missed:,} records", err=True)
                    missed = tap.missed
                if not count:
                    time.sleep(LOOK)
        except KeyboardInterrupt:
            return 0
        except BrokenPipeError:  # as of `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
