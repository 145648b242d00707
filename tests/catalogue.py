"""A segment's catalogue and cells as they lie in memory, read without the code under test."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

from shmtelemetry import layout
from shmtelemetry.segment import Segment

CELL = struct.Struct("=QQQdQd")  # steps, dropped, and twice time and value
EXEMPLAR = struct.Struct("=QII")  # steps, number of the series, room; two slots follow
EXEMPLAR_SLOT = struct.Struct("=QdQ")  # time, value, length of the labels, which follow


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


def places(segment: Segment) -> list[tuple[int, int, float, dict[str, str]]]:
    """(series, room, value, labels) of the place of each exemplar, in the order of the catalogue."""
    stored, found, at = segment.catalogue(), [], 0
    while at < len(stored):
        kind, _, length = layout.CATALOGUE_RECORD.unpack_from(stored, at)
        at += layout.CATALOGUE_RECORD.size
        if kind == layout.KIND_EXEMPLAR:
            steps, series, room = EXEMPLAR.unpack_from(stored, at)
            slot = at + EXEMPLAR.size + (steps & 1) * (EXEMPLAR_SLOT.size + room)
            _, value, size = EXEMPLAR_SLOT.unpack_from(stored, slot)
            found.append((series, room, value, _labels(stored[slot + EXEMPLAR_SLOT.size :][:size])))
        at += length
    return found


def _labels(stored: bytes) -> dict[str, str]:
    labels, at = {}, 0
    while at < len(stored):
        name, value = struct.unpack_from("=HH", stored, at)
        text = stored[at + 4 : at + 4 + name + value]
        labels[text[:name].decode()] = text[name:].decode()
        at += 4 + name + value
    return labels


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
