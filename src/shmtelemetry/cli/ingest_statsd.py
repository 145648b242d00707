"""shmtel ingest statsd"""

import click

from ..logs import Log
from ..signals import caught_signals
from . import ingesting, options, reading, settings

UDP = "127.0.0.1:8125"


@click.command("statsd")
@options.setting(
    "--udp", metavar="HOST:PORT",
    help=f"Where clients send to by UDP, port 0 takes a free one; by default {UDP}, unless --unix is given.",
)  # fmt: skip
@options.setting("--unix", metavar="PATH", help="A Unix socket that clients send datagrams to.")
@options.setting(
    "--flush-interval", type=click.FloatRange(0.1, 3600), metavar="SECONDS", default=10.0,
    help="For which distinct values of sets are counted together.",
)  # fmt: skip
@ingesting.insecure
@options.namespace
@ingesting.producer("statsd")
@reading.log("info")
@ingesting.as_json
@settings.file
def command(
    udp: str | None,
    unix: str | None,
    flush_interval: float,
    insecure: bool,
    namespace: str,
    producer: str,
    log_level: str,
    log_format: str,
    as_json: bool,
) -> None:
    """Take metrics of applications that send StatsD or DogStatsD, without a change to them.

    Prints where it listens. SIGTERM and SIGINT take what was sent before, and exit 0.

    \b
    Keys of --json
      items           lines taken
      rejected        reason → lines refused
      overflow        lines whose tags were beyond the bound of series
      ignored_tags    tags that a metric's first line did not have
      lost_datagrams  datagrams that the kernel had no room for

    \b
    Example:
      shmtel ingest statsd --namespace bot-a
      shmtel ingest statsd --udp 127.0.0.1:8125 --unix /run/bot-a/statsd
      shmtel ingest statsd --udp 0.0.0.0:8125 --insecure
    """
    from ..sources.statsd import StatsdSource
    from ..telemetry import Telemetry

    Log(log_level, log_format, ingesting.SERVICE, namespace).begin()
    with caught_signals() as signals:
        with options.wrong_use():
            listen = udp if udp is not None or unix is not None else UDP
            address = ingesting.address(listen, insecure) if listen is not None else None
            telemetry = Telemetry(producer, namespace)
        with telemetry:
            with options.wrong_use():
                where = (address.host, address.port) if address is not None else None
                source = StatsdSource(telemetry, where, unix, flush_interval)
            with source:
                click.echo(f"listening on {' '.join(source.addresses)}")
                source.run(signals)
            ingesting.show(source.summary(), as_json)
