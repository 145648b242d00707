"""Options that several commands have, and how options become settings."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click


@contextmanager
def wrong_use() -> Iterator[None]:
    """A ValueError inside is the user's: an error of usage."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def setting(flag: str, *also: str, **attributes: Any) -> Callable[[Any], Any]:
    """An option --some-name that is also SHMTEL_SOME_NAME, and some-name in the command's table of shmtel.toml.

    also: names of other environment variables, which come after SHMTEL_*. attributes: as click.option has them.
    """
    variable = "SHMTEL_" + flag.removeprefix("--").upper().replace("-", "_")
    return click.option(flag, envvar=[variable, *also], show_envvar=True, show_default=True, **attributes)


class Pair(click.ParamType):  # type: ignore[type-arg]  # which older versions of click do not have
    """KEY=VALUE. Several in one variable are words of a shell's line, so that values in quotes may have blanks."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not key or not equals or not text:
            self.fail(f"expected KEY=VALUE, got {value!r}", param, ctx)
        return key, text

    def split_envvar_value(self, rv: str) -> list[str]:
        with wrong_use():
            return shlex.split(rv)


namespace = setting("--namespace", metavar="NS", default="default", help="Group of segments that belong together.")
listen = setting(
    "--listen", metavar="HOST:PORT", default="127.0.0.1:8000",
    help="Where to serve /metrics and /health; port 0 takes a free one.",
)  # fmt: skip
allow_uid = setting(
    "--allow-uid", type=click.IntRange(0, 2**32 - 2), multiple=True, metavar="UID",
    help="Accept the segments of this user as well; by default one's own only; repeatable.",
)  # fmt: skip
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
