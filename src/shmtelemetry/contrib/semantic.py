"""OpenTelemetry's names, units and attributes as metrics here have them.

Names as https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/ says.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..liveness import fork_lock
from ..metric import is_label_name
from ..telemetry import MAX_LABEL_LENGTH

MAX_SETS: Final = 2000  # of attributes that one instrument tells apart, as OpenTelemetry's SDK has it
OVERFLOW: Final = "overflow"
UNITS: Final = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "m": "meters", "V": "volts", "A": "amperes",
    "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius", "Hz": "hertz", "%": "percent",
}  # fmt: skip

logger = logging.getLogger("shmtelemetry")

Attributes = Mapping[str, Any] | None


def metric_name(name: str, unit: str, kind: str) -> str:
    """The name of an instrument's metric: with its unit, and `_total` if it is a counter."""
    words = [_legal(name)]
    amount, _, per = re.sub(r"\{[^}]*\}", "", unit).partition("/")
    said = UNITS.get(amount, _legal(amount) if amount and amount != "1" else "")
    if per:
        said = f"{said}_per_{UNITS.get(per, _legal(per)).removesuffix('s')}".removeprefix("_")
    elif amount == "1" and kind == "gauge":
        said = "ratio"
    if kind == "counter":
        words[0] = words[0].removesuffix("_total")
    if said and not f"_{words[0]}_".endswith(f"_{said}_"):
        words.append(said)
    if kind == "counter":
        words.append("total")
    return "_".join(words)


def _legal(text: str) -> str:
    cleaned = re.sub(r"_+", "_", re.sub(r"[^a-zA-Z0-9_:]", "_", text)).strip("_")
    return f"_{cleaned}" if cleaned[:1].isdigit() else cleaned


def label_name(attribute: str) -> str:
    """That of an attribute. Never one that begins with __, which is Prometheus's."""
    legal = _legal(attribute).replace(":", "_")
    return legal if is_label_name(legal) and legal != "le" else f"key_{legal}"


def label_value(value: object) -> str:
    """Strings as they are, all else as JSON writes it; cut where it is too long for a label."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text.encode("utf-8", "replace")[:MAX_LABEL_LENGTH].decode("utf-8", "ignore")


class Points:
    """The series of one instrument, by the attributes of a call.

    A metric here has one set of labels. It is made of the attributes of the instrument's first use; what a later one
    lacks is empty, and what it has besides is left out, which is said once. define: makes the metric with these labels,
    and returns what gives a series by its label values.
    """

    def __init__(self, name: str, define: Callable[[tuple[str, ...]], Callable[..., Any]]) -> None:
        self._name, self._define = name, define
        self._known: dict[tuple[Any, ...], Any] = {}
        self._labels: tuple[str, ...] | None = None
        self._series: Callable[..., Any] | None = None
        self._sets: dict[tuple[str, ...], Any] = {}
        self._said = False

    def __call__(self, attributes: Attributes) -> Any:
        """The series. Attributes in an order that was there before take one look into a dictionary."""
        try:
            return self._known[tuple(attributes.items()) if attributes else ()]
        except (KeyError, TypeError):  # a value may be a list, which has no hash
            return self._resolved(attributes or {})

    def _resolved(self, attributes: Mapping[str, Any]) -> Any:
        with fork_lock():
            values = self._values(attributes)
            series = self._sets.get(values)
            if series is None:
                if len(self._sets) >= MAX_SETS:
                    values = (OVERFLOW,) * len(values)
                assert self._series is not None
                series = self._sets[values] = self._series(*values)
            if len(self._known) < 2 * MAX_SETS:
                self._remember(attributes, series)
            return series

    def _remember(self, attributes: Mapping[str, Any], series: Any) -> None:
        try:
            self._known[tuple(attributes.items())] = series
        except TypeError:
            return

    def _values(self, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        given: dict[str, str] = {}
        for key in sorted(attributes):
            name, value = label_name(key), label_value(attributes[key])
            given[name] = f"{given[name]};{value}" if name in given else value  # two keys that become one name
        if self._labels is None or self._series is None:
            self._series = self._define(tuple(given))
            self._labels = tuple(given)
        if not self._said and (more := given.keys() - set(self._labels)):
            self._said = True
            logger.warning(
                "%s: attributes %s are left out: the labels of a metric are those of its first use, %s",
                self._name, _listed(sorted(more)), _listed(self._labels),
            )  # fmt: skip
        return tuple(given.get(name, "") for name in self._labels)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
