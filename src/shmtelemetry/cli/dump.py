"""shmtel dump"""

import csv
import io
import json
import sys
from typing import TYPE_CHECKING

import click
import numpy as np

from . import options, settings

if TYPE_CHECKING:
    from ..following import Records
    from ..segment import Segment
    from .rows import Row

Batches = list[tuple["Segment", "Records"]]


@click.command("dump")
@click.argument("producer")
@options.namespace
@click.option("--last", type=click.IntRange(0), help="Newest records to write; by default all that there are.")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "npy"]), default="jsonl", show_default=True,
    help="JSON lines, comma-separated values, or a numpy array.",
)  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False), help="File to write; by default stdout.")
@settings.file
def command(producer: str, namespace: str, last: int | None, form: str, output: str | None) -> int:
    """Write the last records of a producer that lives, has ended or was killed, and leave them where they are.

    Neither the producer nor its reader notices. What was drained is written too, as long as nothing newer has taken
    its place. Rings of policy overwrite_oldest outlive their producer, the newest four of each name; those of other
    policies go when they are drained. Rows have the keys that shmtel tail --help explains; npy has the records as they
    are, of instruments as time_ns, metric, labels (JSON) and value.

    \b
    Example:
      shmtel dump orders --last 1000 --format csv --output orders.csv
      shmtel dump orders --namespace bot-a | jq 'select(.latency_ns > 1e6)'
    """
    from ..tap import Tap

    wanted = sys.maxsize if last is None else last
    with options.wrong_use():
        tap = Tap(producer, namespace, last=wanted)
    with tap:
        if tap.dtype is None:
            raise click.ClickException(f"no segment of {producer} in namespace {namespace}: see shmtel ls")
        batches = _newest(list(tap.batches()), wanted)
        written = _npy(batches, tap.dtype) if form == "npy" else (_csv if form == "csv" else _jsonl)(batches)
        missed = tap.missed if sum(len(records) for _, records in batches) < wanted else 0
    if output is None:
        sys.stdout.buffer.write(written)
        sys.stdout.flush()
    else:
        with open(output, "wb") as file:
            file.write(written)
    if missed:
        click.echo(f"shmtel: {missed:,} records were overwritten before they could be copied", err=True)
    return 0


def _newest(batches: Batches, wanted: int) -> Batches:
    """The last `wanted` records, of one dtype; some may have come meanwhile."""
    found: Batches = []
    for segment, records in reversed(batches):
        if wanted == 0 or (found and records.dtype != found[0][1].dtype):
            break
        kept = records[-wanted:]
        found.insert(0, (segment, kept))
        wanted -= len(kept)
    return found


def _jsonl(batches: Batches) -> bytes:
    from .rows import Rows, to_json

    rows = Rows()
    return "".join(f"{to_json(row)}\n" for batch in batches for row in rows.of(*batch)).encode()


def _csv(batches: Batches) -> bytes:
    from .rows import Rows, columns

    rows, text = Rows(), io.StringIO()
    writer = csv.writer(text)  # lines as RFC 4180 has them
    if batches:
        writer.writerow(columns(batches[0][0]))
    for batch in batches:
        writer.writerows([_cell(value) for value in row.values()] for row in rows.of(*batch))
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict) else value


def _npy(batches: Batches, dtype: np.dtype[np.void]) -> bytes:
    from ..following import joined
    from .rows import Rows, has_instruments

    if batches and has_instruments(batches[0][0]):
        rows = Rows()
        array = _samples([row for batch in batches for row in rows.of(*batch)])
    else:
        array = joined([records for _, records in batches], dtype)
    stored = io.BytesIO()
    np.lib.format.write_array(stored, array, allow_pickle=False)
    return stored.getvalue()


def _samples(rows: "list[Row]") -> np.ndarray:
    texts = [(row["time_ns"], row["metric"], json.dumps(row["labels"]), row["value"]) for row in rows]
    metric, labels = (max((len(text[at]) for text in texts), default=1) for at in (1, 2))
    return np.array(texts, [("time_ns", "<i8"), ("metric", f"<U{metric}"), ("labels", f"<U{labels}"), ("value", "<f8")])
