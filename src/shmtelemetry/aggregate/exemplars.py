"""The exemplars of a copied state."""

import struct

import numpy as np
import numpy.typing as npt

from ..layout import EXEMPLAR_LABEL
from ..metric import MAX_EXEMPLAR_CHARACTERS, is_label_name
from .snapshot import Exemplar

_HEAD = struct.Struct("=QdII")  # time_ns, value, length, room; as series.EXEMPLAR


def exemplars_of(tables: npt.NDArray[np.uint64], buckets: int, copied: npt.NDArray[np.uint8]) -> tuple[Exemplar, ...]:
    """Those of the series of one metric, in order of (series, bucket). tables: offset of each series' table, or 0."""
    found = []
    memory, words = memoryview(copied.data), copied[: len(copied) // 8 * 8].view(np.uint64)
    for series in np.flatnonzero(tables).tolist():
        begin = int(tables[series]) // 8
        for bucket, at in enumerate(words[begin : begin + buckets].tolist()):
            if at:
                time_ns, value, length, _ = _HEAD.unpack_from(memory, at)
                labels = decode_exemplar(bytes(memory[at + _HEAD.size : at + _HEAD.size + length]))
                if labels:
                    found.append(Exemplar(series, bucket, labels, value, time_ns))
    return tuple(found)


def decode_exemplar(stored: bytes) -> tuple[tuple[str, str], ...]:
    """The labels of an exemplar; empty for what no producer of ours writes, which would spoil an exposition."""
    labels: dict[str, str] = {}
    at = 0
    try:
        while at < len(stored):
            name_length, value_length = EXEMPLAR_LABEL.unpack_from(stored, at)
            at += EXEMPLAR_LABEL.size + name_length + value_length
            text = stored[at - name_length - value_length : at]
            name, value = text[:name_length].decode(), text[name_length:].decode()
            if len(text) < name_length + value_length or not is_label_name(name) or name in labels:
                return ()
            labels[name] = value
    except (struct.error, UnicodeDecodeError):
        return ()
    if sum(map(len, labels)) + sum(map(len, labels.values())) > MAX_EXEMPLAR_CHARACTERS:
        return ()
    return tuple(labels.items())
