"""What the commands have in common that take data which others send."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from ..listen import Address, parse_listen
from . import options

SERVICE: Final = "shmtel-ingest"  # in the log

insecure = options.setting(
    "--insecure", is_flag=True, help="Take from an address that others can reach, whoever sends to it."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON at the end.")


def producer(default: str) -> Callable[[Any], Any]:
    return options.setting("--producer", metavar="NAME", default=default, help="Name of the ring's producer.")


def address(listen: str, insecure: bool) -> Address:
    """HOST:PORT. Raises ValueError for one that cannot be, or that others reach and is not meant."""
    found = parse_listen(listen, meant=True)
    if not found.loopback and not insecure:
        raise ValueError(
            f"listen {listen!r}: others could send anything there; "
            f"use 127.0.0.1:{found.port}, or --insecure if that is meant"
        )
    return found


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Imports inside are of packages that an extra brings."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "shmtelemetry":
            raise
        raise click.ClickException(f"there is no {error.name}: pip install 'shmtelemetry[{extra}]'") from error


def show(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary))
