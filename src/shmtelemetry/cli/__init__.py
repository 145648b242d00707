"""`shmtel`, the command line. Commands import what they need when they run, so that help comes at once."""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from .._mapping import install_guard
from ..errors import ShmtelError
from . import bench_command, demo, doctor, dump, gc, generate, ingest, ls, probe, reader, serve, tail

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


class OneLineErrors(click.Group):
    """A group whose errors are one line on stderr each: 1 for what failed, 2 for wrong use."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else self.name
            _end(WRONG_USE, f"{error.format_message().rstrip('.')}; see {where} --help")
        except click.ClickException as error:
            _end(error.exit_code, error.format_message())
        except (click.Abort, KeyboardInterrupt):
            _end(INTERRUPTED, "interrupted")
        except (ShmtelError, OSError) as error:
            _end(FAILED, str(error))
        sys.exit(code if isinstance(code, int) else 0)


def _end(code: int, message: str) -> NoReturn:
    click.echo(f"shmtel: {' '.join(message.split())}", err=True)
    sys.exit(code)


@click.group(name="shmtel", cls=OneLineErrors, no_args_is_help=False)
@click.version_option(package_name="shmtelemetry", prog_name="shmtel")
def main() -> None:
    """Telemetry over shared memory: read it, show it, measure it.

    Most options are settings: they are also taken from the environment, as each command's help says, and from the
    command's table in the file shmtel.toml of the working directory or of $XDG_CONFIG_HOME/shmtel.

    \b
    Example:
      shmtel demo
      shmtel reader --namespace bot-a --listen 127.0.0.1:8000
      shmtel serve --namespace bot-a
      shmtel ls --namespace bot-a
      shmtel tail orders --namespace bot-a
    """
    install_guard()  # this process is ours: whatever it looks at, nobody ends it by cutting that short


for module in (reader, serve, ls, tail, dump, doctor, gc, probe, ingest, generate, demo, bench_command):
    main.add_command(module.command)
