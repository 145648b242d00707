"""shmtel ls"""

import json
import os
import time
from collections.abc import Collection
from typing import Any

import click

from . import options, settings

COLUMNS = ("namespace", "producer", "pid", "alive", "records", "bytes", "uid", "policy", "age", "reader")
FACTS = ("pid", "uid", "alive", "in_ring", "capacity", "bytes", "policy", "age_seconds", "reader", "error")


@click.command("ls")
@options.setting("--namespace", metavar="NS", help="Only the segments of this namespace; by default all.")
@options.allow_uid
@options.as_json
@settings.file
def command(namespace: str | None, allow_uid: tuple[int, ...], as_json: bool) -> None:
    """List the segments in shared memory, broken ones with their error, and the states that were kept aside.

    \b
    Keys of --json, one object a segment:
      name            of the segment in /dev/shm
      namespace       and
      producer        who it belongs to; @state for a state that was kept aside
      pid, uid        of the process that made it, and the user that owns it
      alive           whether that process can still write
      in_ring         records that wait in the ring
      capacity        records that the ring holds
      bytes           of shared memory
      policy          drop_newest, block or overwrite_oldest: what happens when the ring is full
      age_seconds     since it was made
      reader          pid of who drains it, or null
      error           why it cannot be read, or null; if not null, what is not known is null

    \b
    Example:
      shmtel ls --namespace bot-a
      shmtel ls --json | jq '.[] | select(.reader == null).producer'
    """
    from ..aggregate.aside import kept_names
    from ..segment import DIRECTORY, check_name, segment_names

    if namespace is not None:
        with options.wrong_use():
            check_name("namespace", namespace)
    names = segment_names(namespace)
    kept = kept_names(DIRECTORY, namespace)
    found = [*(describe(name, allow_uid) for name in names), *(_kept(*one) for one in kept)]
    rows = sorted((row for row in found if row), key=_order)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        click.echo("\n".join(_table(rows)))
    else:
        click.echo("no segments")


def describe(name: str, allow_uids: Collection[int] = ()) -> dict[str, Any] | None:
    """One segment, in the keys that the help explains; None if it has gone meanwhile."""
    from .. import layout
    from ..accounting import has_consumer, segment_stats
    from ..errors import SegmentError, one_line
    from ..segment import DIRECTORY, attach, parse_name

    namespace, producer, _ = parse_name(name) or ("", "", "")
    row = {"name": name, "namespace": namespace, "producer": producer} | dict.fromkeys(FACTS)
    path = os.path.join(DIRECTORY, name)
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    row |= {"uid": status.st_uid, "bytes": status.st_size}
    try:
        segment = attach(name, allow_uids=allow_uids)
    except SegmentError as error:
        return row | {"error": one_line(error)} if os.path.lexists(path) else None
    try:
        header = segment.header
        reader = segment.mapping.load(header.reader_offset + layout.READER_PID)
        known = {
            "pid": header.pid,
            "alive": segment.alive(),
            "in_ring": min(segment_stats(segment).in_ring, header.capacity),
            "capacity": header.capacity,
            "policy": next(policy for policy, number in layout.POLICIES.items() if number == header.policy),
            "age_seconds": round(max(0.0, time.time() - header.created_ns / 1e9), 3),
            "reader": reader if has_consumer(segment) else None,
        }
        segment.check_whole()
        return row | known
    except SegmentError as error:
        return row | {"error": one_line(error)}
    finally:
        segment.close()


def _kept(name: str, namespace: str) -> dict[str, Any] | None:
    """A state that was kept aside; None if it has gone meanwhile."""
    from ..segment import DIRECTORY

    path = os.path.join(DIRECTORY, name)
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    row = {"name": name, "namespace": namespace, "producer": "@state"} | dict.fromkeys(FACTS)
    error = f"a state that --reset-state kept aside; when nobody needs it any more: rm {path}"
    return row | {"uid": status.st_uid, "bytes": status.st_size, "error": error}


def _order(row: dict[str, Any]) -> tuple[str, str, float]:
    return row["namespace"], row["producer"], -(row["age_seconds"] or 0)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [COLUMNS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [
        text if row is None or not row["error"] else f"{text}  {row['error']}"
        for text, row in zip(texts, [None, *rows], strict=True)
    ]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    known = row["error"] is None
    shown = row | {
        "alive": ("yes" if row["alive"] else "no") if known else None,
        "records": f"{row['in_ring']:,}/{row['capacity']:,}" if known else "broken",
        "bytes": f"{row['bytes']:,}",
        "age": _duration(row["age_seconds"]) if known else None,
    }
    return tuple("-" if shown[column] is None else str(shown[column]) for column in COLUMNS)


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f}{unit}"
    return f"{seconds:.1f}s"
