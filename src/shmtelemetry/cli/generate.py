"""shmtel generate"""

import json
import os
import select
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..signals import caught_signals
from . import ingesting, options

if TYPE_CHECKING:
    from ..aggregate.snapshot import Snapshot
    from ..monitoring.catalogue import Catalogue

PERIOD = 2.0  # seconds between two looks of --watch
STALE = 10.0  # seconds after which a reader that made no turn is none


@click.command("generate")
@click.argument("what", required=False)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write to.")
@click.option(
    "--catalog", type=click.Path(path_type=Path), multiple=True, metavar="FILE",
    help="A catalogue of your own instead of the trading platform's, TOML; repeatable.",
)  # fmt: skip
@click.option("--from-live", metavar="NS", help="Take the metrics that producers of this namespace have registered.")
@click.option("--watch", is_flag=True, help="Go on, and write again whenever others are registered.")
@click.option("--check-live", metavar="NS", help="Generate nothing: compare this namespace with the catalogue.")
@options.as_json
def command(
    what: str | None,
    out: Path | None,
    catalog: Sequence[Path],
    from_live: str | None,
    watch: bool,
    check_live: str | None,
    as_json: bool,
) -> int:
    """Write what a monitoring system reads, from a catalogue of metrics or from those that are registered.

    WHAT is prometheus, rules, alerts, alertmanager, grafana, compose, all of these together with all, or handles: a
    Python module of ready instruments. Files that are as they should be are not touched. docs/monitoring.md shows the
    form of a catalogue.

    With --check-live it prints what is unknown, defined otherwise or missing, and labels that the catalogue forbids;
    it exits 1 if there is any.

    \b
    Keys of --json
      written    files that were written, below --out
    and with --check-live, one object a difference
      kind       unknown, otherwise, label, value, bound or missing
      metric     its name
      found      what is so

    \b
    Example:
      shmtel generate all --out deploy/monitoring
      shmtel generate all --out monitoring --catalog metrics.toml
      shmtel generate all --out monitoring --from-live bot-a --watch
      shmtel generate --check-live bot-a
    """
    with ingesting.needs("monitoring"):
        from ..monitoring.generate import NAMES

    with options.wrong_use():
        if check_live is not None:
            if what or out or from_live or watch:
                raise ValueError("--check-live takes no WHAT, --out, --from-live and --watch: it writes nothing")
            return _check(_catalogue(catalog, None), check_live, as_json)
        if what not in NAMES:
            raise ValueError(f"WHAT {what or 'is missing'}: expected one of {', '.join(NAMES)}")
        if out is None:
            raise ValueError("--out is missing: name the folder to write to")
        if watch and from_live is None:
            raise ValueError("--watch goes with --from-live: a file of a catalogue is read once")
    _write(what, out, catalog, from_live, as_json)
    if watch:
        _watch(what, out, catalog, from_live, as_json)
    return 0


def _catalogue(files: Sequence[Path], namespace: str | None) -> "Catalogue":
    from ..monitoring.catalogue import Catalogue

    if namespace is None and not files:
        return Catalogue.packaged()
    catalogue = Catalogue.load(files)
    if namespace is None:
        return catalogue
    from ..monitoring.live import definitions

    return catalogue.with_live(namespace, definitions(_snapshot(namespace)))


def _snapshot(namespace: str) -> "Snapshot":
    """Raises StateError without a reader, and ValueError for a name that cannot be."""
    from ..errors import StateError
    from ..reader.onlooker import Onlooker

    with Onlooker(namespace) as onlooker:
        onlooker.catch_up()
        _, age = onlooker.turn()
        if age > STALE:
            raise StateError(f"no reader of namespace {namespace}: run shmtel reader --namespace {namespace}")
        return onlooker.snapshot(distributions=False)


def _check(catalogue: "Catalogue", namespace: str, as_json: bool) -> int:
    from ..monitoring.live import differences

    found = list(differences(catalogue, _snapshot(namespace)))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            click.echo(f"{one.kind:10}{one.metric}: {one.found}")
    return int(bool(found))


def _write(what: str, out: Path, files: Sequence[Path], namespace: str | None, as_json: bool) -> None:
    from ..monitoring.generate import generated, write

    with options.wrong_use():
        texts = generated(_catalogue(files, namespace), what)
    try:
        written = write(texts, out)
    except OSError as error:
        raise click.ClickException(f"--out {out} cannot be written: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({"written": written}))
    elif written:
        click.echo("\n".join(os.path.join(out, path) for path in written))


def _watch(what: str, out: Path, files: Sequence[Path], namespace: str | None, as_json: bool) -> None:
    """Until SIGTERM or SIGINT. A reader that is away meanwhile changes nothing."""
    from ..errors import StateError

    with caught_signals() as signals:
        while not select.select([signals], [], [], PERIOD)[0]:
            try:
                _write(what, out, files, namespace, as_json)
            except StateError as error:
                click.echo(f"shmtel: {error}", err=True)
