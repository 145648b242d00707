"""Options of the commands that read a namespace and show it to others."""

from collections.abc import Callable
from functools import reduce
from typing import Any, Final

import click

from ..logs import FORMATS, LEVELS
from . import options

Decorator = Callable[[Any], Any]


def _together(*decorators: Decorator) -> Decorator:
    """All of them, in this order."""
    return lambda function: reduce(lambda inner, decorator: decorator(inner), reversed(decorators), function)


interval: Final = options.setting(
    "--interval",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SECONDS",
    help="Longest sleep between polls; by default 1 ms with traffic and 4 ms without.",
)

state: Final = _together(
    options.setting("--ephemeral", is_flag=True, help="Forget all totals at the end."),
    click.option(
        "--reset-state",
        is_flag=True,
        help="Start from zero; the state that there is, good or bad, is kept aside, and ls shows it.",
    ),
)

protection: Final = _together(
    options.setting(
        "--insecure", is_flag=True, help="Let --listen be an address that others can reach, without any protection."
    ),
    options.setting(
        "--token-file",
        metavar="FILE",
        help="Answer only who sends the token in this file, as Authorization: Bearer; health probes need none.",
    ),
    options.setting(
        "--allowed-host",
        multiple=True,
        metavar="NAME",
        help="Answer only to this name in the Host header, on loopback to those of this machine as well; repeatable.",
    ),
    options.setting("--tls-cert", metavar="FILE", help="Serve https with this certificate, PEM, with its chain."),
    options.setting("--tls-key", metavar="FILE", help="Key of --tls-cert, PEM, without a password."),
    options.setting(
        "--tls-client-ca",
        metavar="FILE",
        help="Let only clients in whose certificate one of these authorities signed, PEM.",
    ),
)

shown: Final = _together(
    options.setting(
        "--max-series",
        type=click.IntRange(min=1),
        metavar="N",
        default=100_000,
        help="Series of the namespace; label sets beyond are counted together in one series a metric, labelled "
        "overflow.",
    ),
    options.setting(
        "--gauge-ttl",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        default=300.0,
        help="After which a gauge expires that no living producer has; inf for never.",
    ),
    options.setting(
        "--include",
        multiple=True,
        metavar="GLOB",
        help="Show only metrics whose name matches, such as 'orders_*', the reader's own shmtel_* among them; "
        "repeatable.",
    ),
    options.setting(
        "--exclude",
        multiple=True,
        metavar="GLOB",
        help="Show no metric whose name matches; repeatable.",
    ),
    options.setting(
        "--const-label",
        type=options.Pair(),
        multiple=True,
        help="Label for every series that is shown; a metric with a label of that name keeps its own; repeatable.",
    ),
    options.setting(
        "--label-producer",
        is_flag=True,
        help="Keep the series of each producer apart by the label producer, instead of adding them up.",
    ),
)


def log(level: str, format: str = "text") -> Decorator:
    """What is said on stderr, and how; the arguments are the defaults."""
    return _together(
        options.setting(
            "--log-level",
            "LOG_LEVEL",
            type=click.Choice(LEVELS, case_sensitive=False),
            default=level,
            help="What is said on stderr.",
        ),
        options.setting(
            "--log-format",
            type=click.Choice(FORMATS, case_sensitive=False),
            default=format,
            help="How: text, or json for a log shipper, an object a line.",
        ),
    )
