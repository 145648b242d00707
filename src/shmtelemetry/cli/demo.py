"""shmtel demo"""

import json

import click

from ..demo import DEFAULT_METRICS_PORT, DEFAULT_RATE, DEFAULT_ZMQ_PORT
from . import ingesting, options, settings


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
@options.setting(
    "--zmq-port",
    type=click.IntRange(0, 65532),
    metavar="PORT",
    default=DEFAULT_ZMQ_PORT,
    help="Of the first of four ZeroMQ sockets between the services; free ones where one is taken.",
)
@click.option("--causes", is_flag=True, help="List what can be made to go wrong, and which alert tells of it.")
@click.option("--cause", metavar="NAME", help="Let it go wrong in the demo that runs.")
@click.option("--cure", metavar="NAME", help="Put it right again.")
@click.option("--pid", type=click.IntRange(1), help="Of the demo that is meant, where several run.")
@options.as_json
@settings.file
def command(
    seconds: float | None,
    listen: str,
    rate: int,
    platform: bool,
    metrics_port: int,
    zmq_port: int,
    causes: bool,
    cause: str | None,
    cure: str | None,
    pid: int | None,
    as_json: bool,
) -> int:
    """A trading system of real processes, its reader and the web page, in one command.

    Prints a line a second, and in the end what became of every record. Ends after --seconds, or on Ctrl-C.
    Exits 0 if all records are accounted for.

    \b
    Example:
      shmtel demo --seconds 10 --listen 127.0.0.1:0
      shmtel demo --platform
      shmtel demo --cause feed-lost        in another terminal
      shmtel demo --cure feed-lost

    With --json the last line is an object with the keys producers (a list, with the account of each),
    records_per_second, page_url (null without shmtelemetry[service]) and metrics_urls (a list); all else goes to
    stderr.
    """
    from ..listen import parse_listen

    if causes:
        return _list_causes(as_json)
    if cause or cure:
        return _tell(cause, cure, pid)
    with ingesting.needs("demo"):
        from ..demo.run import run_demo
    with options.wrong_use():
        parse_listen(listen)
    return run_demo(seconds, listen, rate, as_json, platform, metrics_port, zmq_port)


def _list_causes(as_json: bool) -> int:
    from ..demo.causes import CAUSES

    if as_json:
        rows = [{"name": name, "alert": cause.alert, "means": cause.means} for name, cause in CAUSES.items()]
        click.echo(json.dumps(rows))
    else:
        click.echo("\n".join(f"{name:16} {cause.alert:32} {cause.means}" for name, cause in CAUSES.items()))
    return 0


def _tell(cause: str | None, cure: str | None, pid: int | None) -> int:
    from ..demo import control

    for verb, name in ((control.CAUSE, cause), (control.CURE, cure)):
        if name is not None:
            control.tell(verb, name, pid)
    return 0
