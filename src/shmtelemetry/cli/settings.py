"""The file shmtel.toml: what its tables say of commands' settings.

What the command line says comes first, then SHMTEL_*, then the file.
"""

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import click
from click.core import ParameterSource

from .. import config
from .options import wrong_use

CHOSEN: Final = f"{__name__}.file"  # key of a context's `meta`: the file that --config names


def settings_of(command: click.Command) -> dict[str, click.Option]:
    """The settings of a command, by their keys in its table."""
    options = (option for option in command.params if isinstance(option, click.Option) and option.expose_value)
    return {option.opts[0].removeprefix("--"): option for option in options if option.envvar}


def _take_file(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    ctx.meta[CHOSEN] = path
    ctx.default_map = _defaults(ctx)


file = click.option(
    "--config", metavar="FILE", envvar="SHMTEL_CONFIG", show_envvar=True, is_eager=True, expose_value=False,
    callback=_take_file,
    help="Settings for what neither options nor variables say; by default shmtel.toml in the working directory, else "
    "in $XDG_CONFIG_HOME/shmtel.",
)  # fmt: skip


def file_beside(**attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option --config of a command where it is another file: its settings are in the usual place.

    attributes: as click.option has them.
    """

    def take(ctx: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
        _take_file(ctx, parameter, os.environ.get("SHMTEL_CONFIG") or None)
        return path

    return click.option("--config", is_eager=True, callback=take, **attributes)


def anew(ctx: click.Context) -> dict[str, Any]:
    """A command's parameters with the file as it is now. Raises click.UsageError for one that cannot be used."""
    chosen = ctx.meta[CHOSEN]
    fresh = ctx.command.make_context(ctx.info_name, ["--config", chosen] if chosen else [], ctx.parent)
    said = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    return fresh.params | {name: ctx.params[name] for name in said}


def _defaults(ctx: click.Context) -> dict[str, Any]:
    """What the file says of the command, by the names of its parameters."""
    path = ctx.meta[CHOSEN] or config.find_file()
    if path is None:
        return {}
    with wrong_use():
        commands = _commands(ctx.find_root())
        tables = dict(_tables(config.read_file(path), commands))
        _check_names(path, "the file", "table", tables, [name for name in commands if settings_of(commands[name])])
        command = _name(ctx)
        known, table = settings_of(ctx.command), tables.get(command, {})
        _check_names(path, f"[{command}]", "setting", table, known)
        for key, value in table.items():
            _check_value(ctx, f"{path}: [{command}] {key}", known[key], value)
    return {known[key].name or key: value for key, value in table.items()}


def _name(ctx: click.Context) -> str:
    """A command's name in the file, without the root's: that of csv in the group ingest is ingest.csv."""
    above = _name(ctx.parent) if ctx.parent is not None else ""
    own = ctx.info_name if ctx.parent is not None or not isinstance(ctx.command, click.Group) else ""
    return ".".join(filter(None, (above, own)))


def _commands(root: click.Context) -> dict[str, click.Command]:
    """All commands by their names in the file; groups, which have no settings, included."""
    if not isinstance(root.command, click.Group):
        return {_name(root): root.command}
    return dict(_below("", root.command))


def _below(prefix: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield prefix + name, command
        if isinstance(command, click.Group):
            yield from _below(f"{prefix}{name}.", command)


def _tables(tables: Mapping[str, Any], commands: Mapping[str, click.Command]) -> Iterator[tuple[str, Any]]:
    """Those of groups are made of tables."""
    for name, table in tables.items():
        if isinstance(commands.get(name), click.Group) and isinstance(table, dict):
            yield from _tables({f"{name}.{key}": inner for key, inner in table.items()}, commands)
        else:
            yield name, table


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
