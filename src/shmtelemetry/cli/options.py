"""Options that several commands have. Each is also taken from the environment."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

namespace = click.option(
    "--namespace", metavar="NS", default="default", envvar="SHMTEL_NAMESPACE", show_envvar=True,
    show_default=True, help="Group of segments that belong together.",
)  # fmt: skip
listen = click.option(
    "--listen", metavar="HOST:PORT", default="127.0.0.1:8000", envvar="SHMTEL_LISTEN", show_envvar=True,
    show_default=True, help="Where to serve /metrics and /health; port 0 takes a free one.",
)  # fmt: skip
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextmanager
def wrong_use() -> Iterator[None]:
    """A ValueError inside is the user's: an error of usage."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error
