"""shmtel ingest zmq"""

import re

import click

from ..logs import Log
from ..signals import caught_signals
from . import ingesting, options, reading, settings


@click.command("zmq")
@options.setting(
    "--bind", metavar="ADDRESS", default="ipc://trading_metrics",
    help="Where bots send to: ipc://PATH or tcp://HOST:PORT, port * for a free one.",
)  # fmt: skip
@settings.file_beside(
    metavar="FILE",
    help="What messages mean, YAML, read again when it changes; by default orders_total and execution_time_ms.",
)
@options.setting("--forward", metavar="ADDRESS", help="Hand messages on to a sidecar there, in envelopes.")
@options.setting("--bot-id", metavar="BOT", help="Who sends what does not say; by default the namespace.")
@ingesting.insecure
@options.namespace
@ingesting.producer("zmq")
@reading.log("info")
@ingesting.as_json
def command(
    bind: str,
    config: str | None,
    forward: str | None,
    bot_id: str | None,
    insecure: bool,
    namespace: str,
    producer: str,
    log_level: str,
    log_format: str,
    as_json: bool,
) -> None:
    """Take metrics that bots send over ZeroMQ, as strings, JSON or msgpack, and without any library of metrics.

    Prints where it listens. SIGTERM and SIGINT take what was sent before, and exit 0. SIGHUP reads the file of --config
    again, as a change of it does; one that cannot be used changes nothing, and stderr says why. With --forward messages
    are handed on and not taken here, unless a route says otherwise.

    \b
    Keys of --json
      items      messages taken
      rejected   reason → messages refused
      overflow   messages whose labels were beyond the bound of series
      forwarded  messages handed on
      missing    messages that sequence numbers say there were, and that did not come

    \b
    Example:
      shmtel ingest zmq --bind ipc:///run/bot-a/metrics --namespace bot-a
      shmtel ingest zmq --config metrics.yaml --namespace bot-a
      shmtel ingest zmq --forward tcp://127.0.0.1:5560 --bot-id bot-a
      shmtel ingest zmq --bind tcp://127.0.0.1:5560
    """
    with ingesting.needs("zmq"):
        from ..sources.zmq import ZmqSource
    from ..telemetry import Telemetry

    Log(log_level, log_format, ingesting.SERVICE, namespace).begin()
    with caught_signals() as signals:
        with options.wrong_use():
            if bind.startswith("tcp://"):
                ingesting.address(re.sub(r":\*$", ":0", bind.removeprefix("tcp://")), insecure)
            elif not bind.startswith("ipc://"):
                raise ValueError(f"bind {bind!r}: expected ipc://PATH or tcp://HOST:PORT")
            telemetry = Telemetry(producer, namespace)
        with telemetry:
            with options.wrong_use():
                source = ZmqSource(telemetry, bind, bot_id or namespace, config, forward)
            with source:
                click.echo(f"listening on {source.address}")
                source.run(signals)
            ingesting.show(source.summary(), as_json)
