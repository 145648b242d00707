"""What records mean: a structured dtype, a role for each field, and the metrics that follow from both.

A schema is stored in its segment as JSON, so the reader needs no code of the producer's: dtype ⇄ stored description.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from .layout import MAX_RECORD_SIZE
from .metric import NANOSECONDS_PER, SECONDS_PER, UNITS, Metric, metric, unit_of_name

SAMPLE: Final = np.dtype([("time", "<u8"), ("series", "<u4"), ("flags", "<u4"), ("value", "<f8")])
"""The record of the instruments: ticks of the segment's clock, number of the series in its catalogue, value."""

ROLES: Final = ("time", "label", "counter", "total", "gauge", "histogram", "attribute")
NUMERIC_ROLES: Final = ("counter", "total", "gauge", "histogram")
MAX_METRICS: Final = 16  # of one schema: the reader commits all metrics of a record at once
MAX_LABEL_FIELDS: Final = 64
MAX_LABEL_BYTES: Final = 4096  # of one record's label fields together

_FIELD_KINDS: Final = "biufSUMm"


@dataclass(frozen=True, slots=True)
class Role:
    """What one field of a record means; made by `field`."""

    role: str
    name: str | None = None
    help: str = ""
    unit: str | None = None
    buckets: tuple[float, ...] | None = None
    merge: str = "last"
    values: Mapping[int, str] | None = None
    labels: tuple[str, ...] | None = None
    weight: str | None = None


def field(
    role: str,
    *,
    name: str | None = None,
    help: str = "",
    unit: str | None = None,
    buckets: Sequence[float] | None = None,
    merge: str = "last",
    values: Mapping[int, str] | None = None,
    labels: Sequence[str] | None = None,
    weight: str | None = None,
) -> Role:
    """The role of a field.

    role: time, label, counter (adds up), total (already cumulative), gauge, histogram or attribute (kept in events).
    name: of the metric, default `<producer>_<field>`. unit: of the field (s-based units of time convert to the unit
    that the metric's name says). values: names for the integers of a label, {0: "buy", 1: "sell"}. labels: which of
    the label fields the metric has; None for all. weight: a counter or total, whose step says how many observations of
    a histogram the value stands for; without one it is one.
    """
    if role not in ROLES:
        raise ValueError(f"role {role!r}: expected one of {', '.join(ROLES)}")
    if unit is not None and unit not in UNITS:
        raise ValueError(f"unit {unit!r}: expected one of {', '.join(UNITS)}")
    if role == "time" and unit is not None and unit not in SECONDS_PER:
        raise ValueError(f"unit {unit!r} of a time: expected one of {', '.join(SECONDS_PER)}")
    if weight is not None and role != "histogram":
        raise ValueError(f"weight {weight!r} of a {role}: only values of a histogram have one")
    bounds = None if buckets is None else tuple(float(bound) for bound in buckets)
    named = dict(values) if values is not None else None
    return Role(role, name, help, unit, bounds, merge, named, None if labels is None else tuple(labels), weight)


class Schema:
    """A structured dtype and the roles of its fields.

    dtype: fields of booleans, integers, floats, times or fixed-width strings, in native byte order, at most 64 KiB.
    roles: field name → `field(…)`; a field without one is carried and not aggregated. Raises ValueError for a dtype or
    a role that cannot be.
    """

    __slots__ = ("dtype", "events", "roles")

    def __init__(self, dtype: Any, roles: Mapping[str, Role] | None = None, events: bool = False) -> None:
        self.dtype = check_dtype(dtype)
        self.roles = dict(roles or {})
        self.events = bool(events)
        for name, role in self.roles.items():
            self._check_role(name, role)
        if sum(role.role == "time" for role in self.roles.values()) > 1:
            raise ValueError("more than one field has the role time")
        if len(self.metric_fields) > MAX_METRICS:
            raise ValueError(f"{len(self.metric_fields)} fields are metrics: expected at most {MAX_METRICS}")
        label_bytes = sum(item.itemsize for name, item, _ in self.fields() if name in self.label_fields)
        if len(self.label_fields) > MAX_LABEL_FIELDS or label_bytes > MAX_LABEL_BYTES:
            raise ValueError(
                f"{len(self.label_fields)} label fields of {label_bytes} bytes: "
                f"expected at most {MAX_LABEL_FIELDS} of {MAX_LABEL_BYTES} bytes together"
            )

    def _check_role(self, name: str, role: Role) -> None:
        if self.dtype.fields is None or name not in self.dtype.fields:
            raise ValueError(f"role for {name!r}: the dtype has the fields {', '.join(self.dtype.names or ())}")
        if not isinstance(role, Role):
            raise TypeError(f"role of {name!r}: expected field(…), got {type(role).__name__}")
        kind, size = self.dtype.fields[name][0].kind, self.dtype.fields[name][0].itemsize
        if role.role in NUMERIC_ROLES and (kind not in "biuf" or size > 8 or (kind == "f" and size < 4)):
            raise ValueError(f"field {name!r} is a {role.role}: expected an integer, f4 or f8")
        if role.role == "time" and (kind not in "iu" or size != 8):
            raise ValueError(f"field {name!r} is the time: expected u8 or i8 since the epoch")
        if role.role == "label" and kind not in "Sbiu":
            raise ValueError(f"field {name!r} is a label: expected a byte string or an integer")
        if role.weight is not None and getattr(self.roles.get(role.weight), "role", "") not in ("counter", "total"):
            raise ValueError(
                f"field {name!r} is weighted by {role.weight!r}: expected a field that is a counter or total"
            )
        if unknown := set(role.labels or ()) - set(self.label_fields):
            raise ValueError(
                f"field {name!r} has the labels {', '.join(sorted(unknown))}: expected names of label fields"
            )

    def fields(self) -> list[tuple[str, np.dtype[Any], int]]:
        """(name, dtype, offset) of each field, in order."""
        assert self.dtype.names is not None
        assert self.dtype.fields is not None
        return [(name, *self.dtype.fields[name][:2]) for name in self.dtype.names]

    @property
    def metric_fields(self) -> tuple[str, ...]:
        return tuple(name for name, role in self.roles.items() if role.role in NUMERIC_ROLES)

    @property
    def label_fields(self) -> tuple[str, ...]:
        return tuple(name for name, role in self.roles.items() if role.role == "label")

    def labels_of(self, name: str) -> tuple[str, ...]:
        """The label fields that the metric of a field has, in their order."""
        wanted = self.roles[name].labels
        return tuple(label for label in self.label_fields if wanted is None or label in wanted)

    def metrics(self, producer: str) -> dict[str, tuple[Metric, float, float]]:
        """Field → its metric, and the factor and the divisor that turn the field's unit into the metric's.

        One of the two is 1: dividing by 10**9 gives the double that is nearest, multiplying by 1e-9 does not.

        Raises ValueError if two fields make the same metric.
        """
        prefix = re.sub(r"[^a-zA-Z0-9_]", "_", producer)
        made = {}
        for field_name in self.metric_fields:
            role = self.roles[field_name]
            kind = "counter" if role.role == "total" else role.role
            name = role.name or re.sub(r"^(?=\d)", "_", f"{prefix}_{field_name}")
            made[field_name] = metric_of_field(kind, name, role, self.labels_of(field_name))
        names = [made_metric.name for made_metric, *_ in made.values()]
        if len(set(names)) != len(names):
            raise ValueError(f"two fields make the same metric: {', '.join(names)}")
        return made

    def to_json(self) -> bytes:
        stored = {
            "fields": [[name, item.str, offset] for name, item, offset in self.fields()],
            "itemsize": self.dtype.itemsize,
            "roles": {name: asdict(role) for name, role in self.roles.items()},
            "events": self.events,
        }
        return json.dumps(stored, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, stored: bytes) -> "Schema":
        """Raises ValueError for anything that to_json did not write."""
        try:
            values = json.loads(stored)
            dtype = _dtype_of(values["fields"], values["itemsize"])
            roles = {name: _role_of(dict(role)) for name, role in dict(values["roles"]).items()}
            return cls(dtype, roles, values["events"])
        except (TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise ValueError(f"not a stored schema: {error!r}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __repr__(self) -> str:
        return f"Schema({self.dtype!r}, {self.roles!r}, events={self.events})"


def metric_of_field(kind: str, name: str, role: Role, labels: tuple[str, ...]) -> tuple[Metric, float, float]:
    """A metric, and the factor and the divisor that turn values in the role's unit into the metric's.

    Raises ValueError for a unit that does not convert to the one that the name says, and as Metric does.
    """
    unit = unit_of_name(name)
    from_unit, to_unit = role.unit, unit or role.unit
    made = metric(kind, name, role.help, labels=labels, buckets=role.buckets, unit=to_unit, merge=role.merge)
    if from_unit in SECONDS_PER and to_unit in SECONDS_PER:
        from_ns, to_ns = NANOSECONDS_PER[from_unit], NANOSECONDS_PER[to_unit]
        return made, max(1.0, from_ns / to_ns), max(1.0, to_ns / from_ns)
    if from_unit and from_unit != to_unit:
        raise ValueError(f"field unit {from_unit!r} does not convert to {to_unit!r}, which the name {name} says")
    return made, 1.0, 1.0


def _role_of(values: dict[str, Any]) -> Role:
    named = values.get("values")
    if named is not None:
        values["values"] = {int(number): str(name) for number, name in named.items()}
    return field(values.pop("role"), **values)


def _dtype_of(fields: list[list[Any]], itemsize: int) -> np.dtype[np.void]:
    names, formats, offsets = zip(*fields, strict=True)
    for stored in formats:
        if not isinstance(stored, str) or not re.fullmatch(
            rf"[<>=|]?[{_FIELD_KINDS}][0-9]{{1,6}}(\[[a-zA-Z0-9]+\])?", stored
        ):
            raise ValueError(f"unknown field format {stored!r}")
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize})


def check_dtype(dtype: Any) -> np.dtype[np.void]:
    """The dtype as numpy has it; ValueError unless it is flat, of fixed width and at most 64 KiB."""
    checked: np.dtype[np.void] = np.dtype(dtype)
    if checked.names is None or checked.fields is None:
        raise ValueError(f"dtype {checked}: expected a structured dtype, such as np.dtype([('ts', '<u8')])")
    if not 0 < checked.itemsize <= MAX_RECORD_SIZE:
        raise ValueError(f"records of {checked.itemsize:,} bytes: expected 1 to {MAX_RECORD_SIZE:,}")
    for name in checked.names:
        item = checked.fields[name][0]
        if item.hasobject or item.kind not in _FIELD_KINDS or item.subdtype is not None or item.names is not None:
            raise ValueError(
                f"field {name!r} is {item}: expected booleans, integers, floats, times or fixed-width strings; "
                "no objects, nested fields or sub-arrays"
            )
        if not item.isnative:
            raise ValueError(f"field {name!r} is {item}: expected native byte order")
    return checked
