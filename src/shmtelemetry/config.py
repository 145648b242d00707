"""Settings that come from outside the program: the environment, and the file shmtel.toml."""

import os
from typing import Any, Final

FILE_NAME: Final = "shmtel.toml"


def disabled() -> bool:
    """SHMTEL_DISABLED=1: every producer of this process does nothing."""
    return os.environ.get("SHMTEL_DISABLED", "") not in ("", "0")


def namespace() -> str | None:
    """SHMTEL_NAMESPACE: the namespace that the operator names; None if he names none."""
    return os.environ.get("SHMTEL_NAMESPACE") or None


def find_file() -> str | None:
    """The path of shmtel.toml in the working directory, else in $XDG_CONFIG_HOME/shmtel; None where there is none.

    https://specifications.freedesktop.org/basedir-spec/latest/: ~/.config, also instead of a path that is relative.
    """
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(home):
        home = os.path.expanduser("~/.config")
    paths = FILE_NAME, os.path.join(home, "shmtel", FILE_NAME)
    return next(filter(os.path.lexists, paths), None)


def read_file(path: str) -> dict[str, dict[str, Any]]:
    """The tables of a settings file, by name. Raises ValueError naming the file for one that cannot be used."""
    import tomllib  # here, since producers import this module and read no file

    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # no UTF-8, or no TOML
        raise ValueError(f"{path} is no TOML: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"{path}: {name} = {table!r} is in no table: put it below a line such as [reader]")
    return tables
