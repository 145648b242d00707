"""Which series history has: each has a number within its metric, and each 256 of them a shard, where their rows are.

What is new is written with the next rows, and until that has succeeded.
"""

import json
from sqlite3 import Connection
from typing import Any

import numpy as np

from ...aggregate.snapshot import Family, Labels
from .blocks import SHARD, Numbers


class Known:
    """One metric. number: of it in the database."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.shards: list[int] = []
        self.series: dict[tuple[str, ...], int] = {}  # label values → number
        self._labels: Labels = ()
        self._numbers: Numbers = np.empty(0, np.int64)

    def numbers(self, labels: Labels, catalogue: "Catalogue") -> Numbers:
        """Of series with these labels, made for those that are new."""
        if labels is not self._labels and labels != self._labels:
            found = (self._number(values, catalogue) for values in labels)
            self._numbers = np.fromiter(found, np.int64, len(labels))
        self._labels = labels
        return self._numbers

    def _number(self, labels: tuple[str, ...], catalogue: "Catalogue") -> int:
        number = self.series.get(labels)
        if number is None:
            number = self.series[labels] = len(self.series)
            catalogue.add("series", self.number, stored_labels(labels), number)
            if number // SHARD == len(self.shards):
                self.shards.append(catalogue.new_shard(self.number, number // SHARD))
        return number


class Catalogue:
    """All metrics, as the database has them."""

    def __init__(self) -> None:
        self._metrics: dict[tuple[str, str, str], Known] = {}
        self._by_number: dict[int, Known] = {}
        self._shards = 0
        self._new: list[tuple[str, tuple[Any, ...]]] = []  # (table, row)

    def load(self, database: Connection) -> None:
        for number, *key in database.execute("SELECT id, name, kind, labels FROM metric"):
            self._by_number[number] = self._metrics[key[0], key[1], key[2]] = Known(number)
        for shard, metric in database.execute("SELECT id, metric FROM shard ORDER BY metric, number"):
            self._by_number[metric].shards.append(shard)
            self._shards = max(self._shards, shard)
        for metric, labels, number in database.execute("SELECT metric, labels, number FROM series"):
            self._by_number[metric].series[tuple(json.loads(labels))] = number

    def metric(self, family: Family) -> Known:
        metric = family.metric
        key = metric.name, metric.kind, stored_labels(family.label_names)
        known = self._metrics.get(key)
        if known is None:
            known = self._metrics[key] = Known(len(self._metrics) + 1)
            self._by_number[known.number] = known
            # A definition from outside may have halves of surrogate pairs, which are no text.
            self.add("metric", known.number, *key, metric.unit, metric.help.encode(errors="replace").decode())
        return known

    def shard(self, metric: int, number: int) -> int:
        """The shard of a metric with that number within it."""
        return self._by_number[metric].shards[number]

    def new_shard(self, metric: int, number: int) -> int:
        self._shards += 1
        self.add("shard", self._shards, metric, number)
        return self._shards

    @property
    def shards(self) -> int:
        """Shards are numbered from 1 to this."""
        return self._shards

    def add(self, table: str, *row: Any) -> None:
        self._new.append((table, row))

    def write(self, database: Connection) -> None:
        """What is new; it is new until `written`."""
        for table, row in self._new:
            database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def written(self) -> None:
        self._new.clear()


def stored_labels(values: tuple[str, ...]) -> str:
    """Names or values of labels, as the database has them."""
    return json.dumps(values, separators=(",", ":"))
