"""shmtel ingest"""

import click

from . import ingest_csv, ingest_statsd, ingest_zmq


@click.group("ingest", no_args_is_help=False)
def command() -> None:
    """Take data from elsewhere into a ring, whose reader treats it like all others.

    \b
    Example:
      shmtel ingest csv telemetry.log --follow
      shmtel ingest zmq --bind ipc:///run/bot-a/metrics
      shmtel ingest statsd --udp 127.0.0.1:8125
    """


for module in (ingest_csv, ingest_zmq, ingest_statsd):
    command.add_command(module.command)
