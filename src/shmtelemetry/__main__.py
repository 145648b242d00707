"""`python -m shmtelemetry`: what compilers of C and C++ producers need to know."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click

from . import get_include

_OWN_INCLUDE = re.compile(r'#include "(shmtelemetry\w*\.h)"\n')


def one_header() -> str:
    """shmtelemetry_producer.h and what it includes, as one file."""
    included: set[str] = set()

    def text_of(name: str) -> str:
        if name in included:
            return ""
        included.add(name)
        text = Path(get_include(), name).read_text(encoding="utf-8")
        return _OWN_INCLUDE.sub(lambda found: text_of(found[1]), text)

    return text_of("shmtelemetry_producer.h")


def _folder(name: str) -> str:
    return str(Path(get_include()).parent / name)


ANSWERS: dict[str, Callable[[], str]] = {
    "cflags": lambda: f"-I{shlex.quote(get_include())} -D_GNU_SOURCE -pthread\n",
    "header": one_header,
    "cmakedir": lambda: _folder("cmake") + "\n",
    "pkgconfigdir": lambda: _folder("pkgconfig") + "\n",
}


@click.command(
    epilog="\b\nExamples:\n  cc $(python -m shmtelemetry --cflags) orders.c\n"
    "  python -m shmtelemetry --header > shmtelemetry_producer.h\n"
    '  cmake -Dshmtelemetry_DIR="$(python -m shmtelemetry --cmakedir)" .\n'
    '  PKG_CONFIG_PATH="$(python -m shmtelemetry --pkgconfigdir)" pkg-config --cflags shmtelemetry'
)
@click.option("--cflags", "what", flag_value="cflags", help="Print the flags that a compiler needs.")
@click.option("--header", "what", flag_value="header", help="Print all of the C face as one header, to be copied.")
@click.option("--cmakedir", "what", flag_value="cmakedir", help="Print the folder of find_package(shmtelemetry).")
@click.option("--pkgconfigdir", "what", flag_value="pkgconfigdir", help="Print the folder of shmtelemetry.pc.")
def main(what: str | None) -> None:
    """Say what compilers of C and C++ producers need to know."""
    if what is None:
        raise click.UsageError("say one of " + ", ".join(f"--{name}" for name in ANSWERS))
    click.echo(ANSWERS[what](), nl=False)


if __name__ == "__main__":
    main(prog_name="python -m shmtelemetry")
