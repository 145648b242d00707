"""Lines of StatsD, and of DogStatsD: `name:value|type|@rate|#tag:value,tag`.

https://github.com/statsd/statsd/blob/master/docs/metric_types.md
https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/
"""

import re
from typing import Final, NamedTuple

from .intake import Refused

_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")
_PASSED_OVER: Final = ("c:", "e:", "card:", "T")  # a container, and a time: what comes is taken as of now


class Line(NamedTuple):
    """value: one, or several between colons. kind: as it is written. rate: in (0, 1]. tags: as they are written."""

    name: str
    value: str
    kind: str
    rate: float
    tags: str


def parse(text: str) -> Line:
    """Raises Refused."""
    name, _, rest = text.partition(":")
    value, bar, more = rest.partition("|")
    if name[:1] == "_" and text.startswith(("_e{", "_sc|")):
        raise Refused("event")
    if not name or not value or not bar:
        raise Refused("syntax")
    kind, _, more = more.partition("|")
    rate, tags = 1.0, ""
    for part in more.split("|") if more else ():
        if part.startswith("@"):
            rate = _rate(part[1:])
        elif part.startswith("#"):
            tags = part[1:]
        elif part and not part.startswith(_PASSED_OVER):
            raise Refused("syntax")
    return Line(name, value, kind, rate, tags)


def legal(name: str) -> str:
    """A name that Prometheus takes: what is no letter, digit or _ becomes _, and one comes before a digit."""
    name = _NO_NAME.sub("_", name)
    return f"_{name}" if name[:1].isdigit() else name


def labels(tags: str) -> dict[str, str]:
    """Legal names and values; a tag without a value has `true`, and of one that comes twice the last counts."""
    found = {}
    for tag in tags.split(","):
        if tag:
            name, colon, value = tag.partition(":")
            found[legal(name)] = value if colon else "true"
    return found


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1:
        raise Refused("rate")
    return rate
