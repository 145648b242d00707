"""shmtel bench"""

import click

from . import options


@click.command("bench")
@options.as_json
def command(as_json: bool) -> int:
    """Measure emit and drain on this machine.

    \b
    Example:
      shmtel bench
      shmtel bench --json > bench.json

    \b
    Keys of --json: machine (facts about it), emit (nanoseconds a call), drain (million records a second).
    """
    from .bench import bench

    try:
        return bench(as_json)
    except RuntimeError as error:  # what failed, and the stderr of the process where it did
        lines = str(error).splitlines()
        raise click.ClickException(f"{lines[0]} {lines[-1]}" if len(lines) > 1 else str(error)) from error
