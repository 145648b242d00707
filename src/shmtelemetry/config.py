"""Settings that come from outside the program: the environment, and the file shmtel.toml."""

import os
from typing import Any, Final

FILE_NAME: Final = "shmtel.toml"
MAX_BYTES: Final = 1 << 20  # of one TOML file


def disabled() -> bool:
    """SHMTEL_DISABLED=1: every producer of this process does nothing."""
    return os.environ.get("SHMTEL_DISABLED", "") not in ("", "0")


def namespace() -> str | None:
    """SHMTEL_NAMESPACE: the namespace that the operator names; None if he names none."""
    return os.environ.get("SHMTEL_NAMESPACE") or None


def producer() -> str | None:
    """SHMTEL_PRODUCER: the name of the producer that the trading pack opens; None if the operator names none."""
    return os.environ.get("SHMTEL_PRODUCER") or None


def find_file() -> str | None:
    """The path of shmtel.toml in the working directory, else in $XDG_CONFIG_HOME/shmtel; None where there is none.

    https://specifications.freedesktop.org/basedir-spec/latest/: ~/.config, also instead of a path that is relative.
    """
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(home):
        home = os.path.expanduser("~/.config")
    paths = FILE_NAME, os.path.join(home, "shmtel", FILE_NAME)
    return next(filter(os.path.lexists, paths), None)


def read_toml(path: str) -> dict[str, Any]:
    """What a TOML file says. Raises ValueError naming it where it cannot be read."""
    import tomllib  # here, since producers import this module and read no file

    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        return tomllib.loads(text.decode())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is no TOML: it is nested too deeply") from error
    except ValueError as error:  # no UTF-8, or no TOML
        raise ValueError(f"{path} is no TOML: {error}") from error


def read_file(path: str) -> dict[str, dict[str, Any]]:
    """The tables of a settings file, by name. Raises ValueError naming the file for one that cannot be used."""
    tables = read_toml(path)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"{path}: {name} = {table!r} is in no table: put it below a line such as [reader]")
    return tables
