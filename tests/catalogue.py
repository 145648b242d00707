"""A segment's catalogue and cells as they lie in memory, read without the code under test."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

from shmtelemetry import layout
from shmtelemetry.segment import Segment

CELL = struct.Struct("=QQQdQd")  # steps, dropped, and twice time and value


@dataclass(frozen=True)
class Cell:
    steps: int
    dropped: int
    time: int
    value: float


@dataclass(frozen=True)
class Series:
    metric: dict[str, Any]
    labels: tuple[str, ...]
    cell: Cell


def read_catalogue(segment: Segment) -> list[Series]:
    """Every series, in the order of its number."""
    stored, metrics, series, at = segment.catalogue(), [], [], 0
    while at < len(stored):
        assert at % 8 == 0
        kind, flags, length = layout.CATALOGUE_RECORD.unpack_from(stored, at)
        assert flags == 0
        payload = stored[at + layout.CATALOGUE_RECORD.size :][:length]
        assert len(payload) == length
        at += layout.CATALOGUE_RECORD.size + length
        if kind == layout.KIND_METRIC:
            metrics.append(json.loads(payload.rstrip(b"\0")))
        else:
            assert kind == layout.KIND_SERIES
            series.append(_series(payload, metrics))
    return series


def _series(payload: bytes, metrics: list[dict[str, Any]]) -> Series:
    number, count = layout.SERIES_METRIC.unpack_from(payload, layout.CELL_SIZE)
    at, labels = layout.CELL_SIZE + layout.SERIES_METRIC.size, []
    for _ in range(count):
        (length,) = layout.LABEL_LENGTH.unpack_from(payload, at)
        at += layout.LABEL_LENGTH.size
        labels.append(payload[at : at + length].decode())
        at += length
    return Series(metrics[number], tuple(labels), _cell(payload))


def _cell(payload: bytes) -> Cell:
    steps, dropped, *slots = CELL.unpack_from(payload)
    at = 2 * (steps & 1)
    return Cell(steps, dropped, slots[at], slots[at + 1])
