"""What the columns of a file are: the twelve of a telemetry log, or those that a TOML file names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...config import read_toml
from ...errors import one_line
from ...metric import UNITS
from ...schema import Role, Schema, field
from ...trading.schemas import SYSTEM_SAMPLE

LABEL_BYTES: Final = 64  # of one label value; longer ones are refused
MAX_COLUMNS: Final = 256
ROLES: Final = ("counter", "total", "gauge", "histogram", "label", "time", "ignore")
KEYS: Final = {"role": str, "name": str, "unit": str, "help": str, "buckets": list}
DECIMALS: Final = {"ns": 0, "us": 3, "ms": 6, "seconds": 9}

# What a record has besides its columns: where in which file it stood. No metric is made of it.
PLACE: Final = (
    ("csv_path", "<u8"),
    ("csv_head", "<u8"),
    ("csv_mark", "<u8"),
    ("csv_header", "<u8"),
    ("csv_offset", "<u8"),
    ("csv_line", "<u8"),
)
_LATENCY: Final = "batch_latency_ns"
_UTILIZATION: Final = "buffer_utilization"


@dataclass(frozen=True, slots=True)
class Columns:
    """names: of the columns, in the order of a file without a header. targets: of those that are used, (kind, field,
    decimals), as Rows has them. schema: of the records. constants: label fields that no column gives, and their value.
    copies: fields that have another one's value. is_log: whether these are the twelve columns of a telemetry log."""

    names: tuple[str, ...]
    targets: Mapping[str, tuple[str, str, int]]
    schema: Schema
    constants: Mapping[str, str]
    is_log: bool = False

    def complete(self, records: np.ndarray) -> None:
        """Fill in what follows from the columns."""
        if not self.is_log:
            return
        records[_LATENCY] = records["avg_latency_ns"]
        used, capacity = records["buffer_size"], records["buffer_capacity"]
        share = np.divide(used, capacity, out=np.zeros(len(records)), where=capacity > 0)
        records[_UTILIZATION] = 100 * share


def telemetry_log(producer_id: str, consumer_id: str, network_type: str) -> Columns:
    """The twelve columns of trading.schemas.SYSTEM_SAMPLE. The arguments are the values of labels that they lack.

    Raises ValueError for values that cannot be those of labels.
    """
    ids = {"producer_id": producer_id, "consumer_id": consumer_id, "network_type": network_type}
    labels = {name: len(_encoded(name, value)) or 1 for name, value in ids.items()}
    of = {"orders_produced": "producer_id", "orders_consumed": "consumer_id", "network_errors": "network_type"}
    formats = [(name, item.str) for name, item, _ in SYSTEM_SAMPLE.fields()]
    extra = [(_LATENCY, "<f8"), (_UTILIZATION, "<f8"), *((name, f"S{size}") for name, size in labels.items())]
    roles = {name: _labelled(role, [of[name]] if name in of else []) for name, role in SYSTEM_SAMPLE.roles.items()}
    roles |= {name: field("label") for name in labels}
    roles[_LATENCY] = field(
        "histogram", name="batch_latency_seconds", unit="ns", labels=(), weight="batch_count",
        help="Latency of a batch: of each sample the average, once for every batch since the one before. "
        "Its tails are less than those of the batches themselves.",
    )  # fmt: skip
    roles[_UTILIZATION] = field(
        "gauge", name="buffer_utilization_percent", unit="percent", labels=(), help="Share of the buffer in use."
    )
    names = tuple(name for name, _ in formats)
    kinds = {"<u8": "unsigned", "<f8": "amount"}
    targets = {name: (kinds[format], name, 0) for name, format in formats}
    return Columns(names, targets, _schema([*formats, *extra], roles), ids, is_log=True)


def _labelled(role: Role, labels: Sequence[str]) -> Role:
    return (
        role if role.role == "time" else field(role.role, name=role.name, help=role.help, unit=role.unit, labels=labels)
    )


def _encoded(name: str, value: str) -> bytes:
    encoded = value.encode()
    if len(encoded) > LABEL_BYTES or b"\0" in encoded:
        raise ValueError(f"{name} {value!r}: expected at most {LABEL_BYTES} bytes without NUL")
    return encoded


def _schema(formats: Sequence[tuple[str, str]], roles: Mapping[str, Role]) -> Schema:
    return Schema(np.dtype([*formats, *PLACE], align=True), roles)


def read_columns(path: str) -> Columns:
    """The columns that a TOML file names, in the order of its tables [columns.NAME]. Raises ValueError naming it."""
    tables = read_toml(path)
    try:
        return _columns(tables)
    except ValueError as error:
        raise ValueError(one_line(f"{path}: {error}")) from error


def _columns(tables: Mapping[str, Any]) -> Columns:
    columns = tables.get("columns")
    if set(tables) != {"columns"} or not isinstance(columns, dict) or not 0 < len(columns) <= MAX_COLUMNS:
        raise ValueError(f"expected 1 to {MAX_COLUMNS} tables [columns.NAME], and no others")
    formats: list[tuple[str, str]] = []
    roles: dict[str, Role] = {}
    targets: dict[str, tuple[str, str, int]] = {}
    for at, (name, table) in enumerate(columns.items()):
        _check_table(name, table)
        if table["role"] == "ignore":
            continue
        own = name if name.isidentifier() and not name.startswith("csv_") else f"column_{at + 1}"
        format, kind, decimals, roles[own] = _column(name, table)
        formats.append((own, format))
        targets[name] = kind, own, decimals
    if not any(role.role not in ("label", "time") for role in roles.values()):
        raise ValueError("no column is a counter, total, gauge or histogram")
    return Columns(tuple(columns), targets, _schema(formats, roles), {})


def _check_table(name: str, table: object) -> None:
    where = f"[columns.{name}]"
    if not isinstance(table, dict):
        raise ValueError(f"{name} = {table!r}: expected a table {where}")
    for key, value in table.items():
        if key not in KEYS:
            raise ValueError(f"{where} has no key {key}: expected {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]):
            raise ValueError(f"{where} {key} = {value!r}: expected a {'text' if KEYS[key] is str else 'list'}")
    if table.get("role") not in ROLES:
        raise ValueError(f"{where} role = {table.get('role')!r}: expected one of {', '.join(ROLES)}")
    if "unit" in table and table["unit"] not in UNITS:
        raise ValueError(f"{where} unit = {table['unit']!r}: expected one of {', '.join(UNITS)}")


def _column(name: str, table: Mapping[str, Any]) -> tuple[str, str, int, Role]:
    """(format of the field, kind of the column, decimals, role)."""
    role, unit = table["role"], table.get("unit")
    try:
        if role == "label":
            return f"S{LABEL_BYTES}", "text", 0, field("label")
        if role == "time":
            if unit not in (None, *DECIMALS):
                raise ValueError(f"unit {unit!r} of a time: expected one of {', '.join(DECIMALS)}")
            return "<u8", "time", DECIMALS[unit or "ns"], field("time", unit="ns")
        made = field(role, name=table.get("name"), help=table.get("help", ""), unit=unit, buckets=table.get("buckets"))
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"[columns.{name}]: {error}") from error
    return "<f8", "real" if role == "gauge" else "amount", 0, made
