"""The file shmtel.toml: what its tables say of commands' settings.

What the command line says comes first, then SHMTEL_*, then the file.
"""

import difflib
from collections.abc import Iterable
from typing import Any, Final

import click
from click.core import ParameterSource

from .. import config
from .options import wrong_use

_CHOSEN: Final = f"{__name__}.file"  # key of a context's `meta`: the file that --config names


def settings_of(command: click.Command) -> dict[str, click.Option]:
    """The settings of a command, by their keys in its table."""
    options = (option for option in command.params if isinstance(option, click.Option) and option.expose_value)
    return {option.opts[0].removeprefix("--"): option for option in options if option.envvar}


def _take_file(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    ctx.meta[_CHOSEN] = path
    ctx.default_map = _defaults(ctx)


file = click.option(
    "--config", metavar="FILE", envvar="SHMTEL_CONFIG", show_envvar=True, is_eager=True, expose_value=False,
    callback=_take_file,
    help="Settings for what neither options nor variables say; by default shmtel.toml in the working directory, else "
    "in $XDG_CONFIG_HOME/shmtel.",
)  # fmt: skip


def anew(ctx: click.Context) -> dict[str, Any]:
    """A command's parameters with the file as it is now. Raises click.UsageError for one that cannot be used."""
    chosen = ctx.meta[_CHOSEN]
    fresh = ctx.command.make_context(ctx.info_name, ["--config", chosen] if chosen else [], ctx.parent)
    said = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    return fresh.params | {name: ctx.params[name] for name in said}


def _defaults(ctx: click.Context) -> dict[str, Any]:
    """What the file says of the command, by the names of its parameters."""
    path = ctx.meta[_CHOSEN] or config.find_file()
    if path is None:
        return {}
    with wrong_use():
        tables = config.read_file(path)
        _check_names(path, "the file", "table", tables, _tables(ctx))
        command = ctx.info_name or ""
        known, table = settings_of(ctx.command), tables.get(command, {})
        _check_names(path, f"[{command}]", "setting", table, known)
        for key, value in table.items():
            _check_value(ctx, f"{path}: [{command}] {key}", known[key], value)
    return {known[key].name or key: value for key, value in table.items()}


def _tables(ctx: click.Context) -> list[str]:
    """The names of the commands that have settings."""
    commands = getattr(ctx.find_root().command, "commands", {ctx.info_name: ctx.command})
    return [name for name, command in commands.items() if settings_of(command)]


def _check_names(path: str, where: str, what: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise ValueError(f"{path}: {where} has no {what} {name}: {hint}")


def _check_value(ctx: click.Context, where: str, option: click.Option, value: object) -> None:
    """Raises ValueError for a value of another type or range than the option's."""
    expected = _expected(option)
    if not _fits(option, value):
        raise ValueError(f"{where}: expected {expected}, got {value!r}")
    try:
        option.type_cast_value(ctx, value)
    except click.BadParameter as error:
        raise ValueError(f"{where}: expected {expected}, got {value!r}: {error.message}") from error


def _expected(option: click.Option) -> str:
    if option.is_flag:
        return "true or false"
    one = {float: "a number", int: "an integer", str: "a text"}[_type(option)]
    return f"a list of {one.split()[-1]}s" if option.multiple else one


def _fits(option: click.Option, value: object) -> bool:
    if option.is_flag:
        return isinstance(value, bool)
    wanted = _type(option)
    items = value if option.multiple else [value]
    return isinstance(items, list) and all(
        isinstance(item, (int, float) if wanted is float else wanted) and not isinstance(item, bool) for item in items
    )


def _type(option: click.Option) -> type:
    """What Python type of TOML's a single value is."""
    if isinstance(option.type, click.types.IntParamType):
        return int
    return float if isinstance(option.type, click.types.FloatParamType) else str
