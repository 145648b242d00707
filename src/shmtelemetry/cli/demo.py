"""shmtel demo"""

import click

from ..demo import DEFAULT_METRICS_PORT, DEFAULT_RATE
from . import options, settings


@click.command("demo")
@options.setting(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="How long; by default until Ctrl-C.",
)
@options.listen
@options.setting(
    "--rate",
    type=click.IntRange(min=1),
    metavar="R",
    default=DEFAULT_RATE,
    help="Market data messages a second; each causes about a dozen records.",
)
@options.setting(
    "--platform", is_flag=True, help="A namespace, a reader and a port for each service, as four containers would have."
)
@options.setting(
    "--metrics-port",
    type=click.IntRange(0, 65532),
    metavar="PORT",
    default=DEFAULT_METRICS_PORT,
    help="With --platform: of the first service; the others follow. 0 takes free ones.",
)
@options.as_json
@settings.file
def command(seconds: float | None, listen: str, rate: int, platform: bool, metrics_port: int, as_json: bool) -> int:
    """A trading system of real processes, its reader and the web page, in one command.

    Prints a line a second, and in the end what became of every record. Ends after --seconds, or on Ctrl-C.
    Exits 0 if all records are accounted for.

    \b
    Example:
      shmtel demo --seconds 10 --listen 127.0.0.1:0
      shmtel demo --platform

    With --json the last line is an object with the keys producers (a list, with the account of each),
    records_per_second, page_url (null without shmtelemetry[service]) and metrics_urls (a list); all else goes to
    stderr.
    """
    from ..demo.run import run_demo
    from ..listen import parse_listen

    with options.wrong_use():
        parse_listen(listen)
    return run_demo(seconds, listen, rate, as_json, platform, metrics_port)
