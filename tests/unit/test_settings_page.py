"""docs/settings.md tells of every option, and of no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from shmtelemetry.aggregate.state import GAUGE_TTL, MAX_SERIES
from shmtelemetry.cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text()


def options_of(command: click.Command) -> list[click.Option]:
    return [option for option in command.params if isinstance(option, click.Option) and option.name != "help"]


def row(option: click.Option) -> str:
    """The option's line, as the page must have it."""
    flag = option.opts[0]
    variables = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
    is_setting = bool(variables) and option.expose_value
    default = f"{option.default}" if isinstance(option.default, (str, int, float)) and not option.is_flag else ""
    cells = [
        f"`{flag}`",
        ", ".join(f"`{variable}`" for variable in variables),
        f"`{flag.removeprefix('--')}`" if is_setting else "",
        f"`{default}`" if default else "off" if option.is_flag and is_setting else "",
        (option.help or "").replace("|", "\\|"),
    ]
    return " | ".join(["", *(cell or "-" for cell in cells), ""]).strip()


def commands_of(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield prefix + name, command
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{prefix}{name} ")


COMMANDS = dict(commands_of(main))


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if options_of(command)])
def test_every_option_of_a_command_is_in_its_table(command: str) -> None:
    section = re.search(rf"^## shmtel {command}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, f"docs/settings.md has no section '## shmtel {command}'"
    documented = [line for line in section[1].splitlines() if line.startswith("| `--")]
    expected = [row(option) for option in options_of(COMMANDS[command])]
    assert documented == expected, "docs/settings.md should say:\n" + "\n".join(expected)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_command_with_settings_takes_them_from_a_file(command: str) -> None:
    options = options_of(COMMANDS[command])
    settings = [option for option in options if option.envvar and option.expose_value]
    assert any(option.opts == ["--config"] for option in options) == bool(settings)
    for option in settings:
        variables = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
        assert variables[0] == "SHMTEL_" + option.opts[0].removeprefix("--").upper().replace("-", "_")


def test_every_variable_that_the_library_reads_is_documented() -> None:
    named = set(re.findall(r"\bSHMTEL_[A-Z_]+", (ROOT / "src/shmtelemetry/config.py").read_text()))
    assert "SHMTEL_DISABLED" in named
    assert {name for name in named if f"`{name}`" not in PAGE} == set()


def test_the_default_bounds_are_the_readers() -> None:
    defaults = {option.name: option.default for option in options_of(COMMANDS["reader"])}
    assert (defaults["max_series"], defaults["gauge_ttl"]) == (MAX_SERIES, GAUGE_TTL)
