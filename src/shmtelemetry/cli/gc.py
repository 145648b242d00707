"""shmtel gc"""

import json
import os
from collections.abc import Iterator
from typing import Any

import click

from . import options, settings

Row = dict[str, Any]


@click.command("gc")
@options.setting("--namespace", metavar="NS", help="Only this namespace; by default all.")
@click.option("--undrained", is_flag=True, help="Also segments of ended producers with records that nobody has read.")
@click.option("--states", is_flag=True, help="Also totals of namespaces nobody reads or writes, and states kept aside.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@options.as_json
@settings.file
def command(namespace: str | None, undrained: bool, states: bool, dry_run: bool, as_json: bool) -> None:
    """Remove from shared memory what ended producers and readers left and nobody needs.

    Takes segments of this user whose producer has ended and whose records are all read. What a living process
    writes or reads stays in any case, and so do other users' files and what is no segment of this release. The
    newest four segments of each flight recorder (overwrite_oldest) stay, unless --undrained says otherwise.

    \b
    Keys of --json:
      dry_run         whether nothing was removed
      bytes           of shared memory that were freed, or would be
      files           one object for each file that was looked at:
        name          in /dev/shm
        namespace     that it belongs to
        kind          segment, state or kept_state
        bytes         of shared memory that it takes
        removed       whether it was removed, or would be
        why           it was, or was not

    \b
    Example:
      shmtel gc --dry-run
      shmtel gc --namespace bot-a --undrained
    """
    from ..segment import check_name
    from .namespaces import namespaces

    if namespace is not None:
        with options.wrong_use():
            check_name("namespace", namespace)
    rows: list[Row] = []
    for one in [namespace] if namespace else namespaces():
        rows += _segments(one, undrained, dry_run)
        if states:
            rows += _states(one, {row["name"] for row in rows if row["removed"]}, dry_run)
    freed = sum(row["bytes"] for row in rows if row["removed"])
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, "bytes": freed, "files": rows}, indent=2))
        return
    for row in rows:
        done = ("would remove" if dry_run else "removed") if row["removed"] else "kept"
        click.echo(f"{done} {row['name']} ({row['bytes']:,} bytes): {row['why']}")
    click.echo(f"{freed:,} bytes {'would be ' if dry_run else ''}freed")


def _row(name: str, namespace: str, kind: str, size: int, why: str, removed: bool = False) -> Row:
    return {"name": name, "namespace": namespace, "kind": kind, "bytes": size, "removed": removed, "why": why}


def _size(path: str) -> int:
    return os.stat(path, follow_symlinks=False).st_blocks * 512


def _segments(namespace: str, undrained: bool, dry_run: bool) -> Iterator[Row]:
    from ..segment import segment_names

    for name in sorted(segment_names(namespace)):
        try:
            yield _segment(name, namespace, undrained, dry_run)
        except FileNotFoundError:
            continue  # its reader was faster


def _segment(name: str, namespace: str, undrained: bool, dry_run: bool) -> Row:
    from .. import layout
    from ..accounting import nobody_needs, segment_stats
    from ..errors import SegmentError
    from ..liveness import lock
    from ..recordings import is_kept
    from ..segment import DIRECTORY, attach

    path = os.path.join(DIRECTORY, name)
    size = _size(path)
    try:
        segment = attach(name)
    except SegmentError as error:
        os.stat(path, follow_symlinks=False)
        return _row(name, namespace, "segment", size, f"not to be judged: {error}; if nobody needs it: rm {path}")
    try:
        if segment.owner != os.geteuid():
            return _row(name, namespace, "segment", size, f"it belongs to user {segment.owner}")
        if segment.alive():
            return _row(name, namespace, "segment", size, "its producer lives")
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:  # whoever has the consumer's lock is the only one who reads it, or removes it
            if os.fstat(fd).st_ino != segment.inode or not lock(fd, layout.LOCK_CONSUMER):
                return _row(name, namespace, "segment", size, "a reader has it")
            stats, drained = segment_stats(segment), nobody_needs(segment)
            if not drained and not undrained:
                lost = f"{stats.in_ring:,} records are not read, or losses are not counted yet"
                return _row(name, namespace, "segment", size, f"{lost}: start a reader, or say --undrained")
            if is_kept(segment) and not undrained:
                heir = segment.header.flags & layout.FLAG_HEIR
                why = "where its producer goes on" if heir else "a flight recorder's last records: see shmtel dump"
                return _row(name, namespace, "segment", size, why)
            if not dry_run:
                os.unlink(path)
        finally:
            os.close(fd)
        why = "its producer has ended, and all is read" if drained else f"{stats.in_ring:,} records were not read"
        return _row(name, namespace, "segment", size, why, removed=True)
    finally:
        segment.close()


def _states(namespace: str, gone: set[str], dry_run: bool) -> Iterator[Row]:
    from ..aggregate.aside import kept_names
    from ..aggregate.state import state_path
    from ..segment import DIRECTORY

    for name, _ in sorted(kept_names(DIRECTORY, namespace)):
        path = os.path.join(DIRECTORY, name)
        size = _size(path)
        if os.stat(path, follow_symlinks=False).st_uid != os.geteuid():
            yield _row(name, namespace, "kept_state", size, "it belongs to another user")
            continue
        if not dry_run:
            os.unlink(path)
        yield _row(name, namespace, "kept_state", size, "it was kept aside", removed=True)
    path = str(state_path(DIRECTORY, namespace, os.geteuid()))
    if os.path.lexists(path):
        size = _size(path)
        needed = _needed(namespace, path, gone, dry_run)
        why = needed or "nobody reads or writes its namespace"
        yield _row(os.path.basename(path), namespace, "state", size, why, removed=not needed)


def _needed(namespace: str, path: str, gone: set[str], dry_run: bool) -> str:
    """Who needs a state; empty, and it is removed, if nobody does. gone: names of segments that need nothing more."""
    from pathlib import Path

    from ..aggregate.recorder import remove
    from ..aggregate.seconds import windows_path
    from ..errors import ReaderBusyError
    from ..liveness import is_locked
    from ..reader.control import LOCK_MEMBERS, Control
    from ..segment import segment_names

    try:
        control = Control(namespace)  # no reader begins meanwhile
    except ReaderBusyError as error:
        return f"process {error.pid} reads it"
    try:
        control.hold(Path(path), namespace)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if is_locked(fd, LOCK_MEMBERS):
                return "processes that stand by share it"
        finally:
            os.close(fd)
        if set(segment_names(namespace)) - gone:
            return "there are segments of its namespace"
        if not dry_run:
            remove(windows_path(Path(path)))
            os.unlink(path)
        return ""
    except ReaderBusyError as error:
        return f"process {error.pid} reads it"
    finally:
        control.close()
