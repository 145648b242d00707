"""HistoryWriter: keeps what a snapshot's figures are, once a second, and rolls them up to minutes and hours."""

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from ...aggregate.snapshot import Snapshot
from ..database import Database
from ..events.kept import Kept
from .blocks import ALL_EVERY, RESOLUTIONS, TIME_BITS, key, split, table
from .catalogue import Catalogue
from .tracks import CounterTrack, GaugeTrack, HistogramTrack, Look, Track

logger = logging.getLogger("shmtelemetry")

SET_BACK: Final = 60  # seconds by which the clock may be set back; if it is more, history goes on from there
TRACKS: Final[dict[str, type[Track]]] = {"counter": CounterTrack, "gauge": GaugeTrack, "histogram": HistogramTrack}
LEAST: Final = 600.0  # seconds that are kept of the finest rows, however large the database is


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many seconds rows are kept that are one second, one minute and one hour apart. size: bytes of all but
    events, beyond which those of one second go earlier."""

    seconds: float = 2 * 3600.0
    minutes: float = 14 * 86400.0
    hours: float = 400 * 86400.0
    size: int = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Row:
    resolution: int
    key: int
    data: bytes
    series: int  # how many


class HistoryWriter:
    """Writes the history of a namespace; one process at a time does.

    What the disk does not take is lost to history: said once, and counted in `lost`, in figures of a series; `failing`
    says whether it is so now. Raises
    ValueError for a file that is no such database.
    """

    def __init__(self, path: Path, namespace: str, retention: Retention = Retention()) -> None:
        self._database, self._namespace, self._retention = Database(path), namespace, retention
        self._catalogue: Catalogue | None = None  # once it was read
        self._tracks: dict[int, Track] = {}  # by number of the metric
        self._last: int | None = None  # when something was recorded
        self._whole = [-1] * len(RESOLUTIONS)  # when all series were, in times of ALL_EVERY rows
        self._kept = retention.seconds
        self.failing = False
        self.lost = 0

    def record(self, snapshot: Snapshot, now: float) -> None:
        """Keep what there is new. snapshot: with distributions. now: seconds since the epoch, one more each time."""
        time = int(now)
        if self._last is not None and self._last - SET_BACK < time <= self._last:
            return
        catalogue = self._loaded()
        if catalogue is None:
            return
        rows = list(self._close_passed(time, catalogue))
        self._take(snapshot, catalogue)
        for level, resolution in enumerate(RESOLUTIONS):
            if time % resolution == 0:
                rows += self._close(level, time, catalogue)
        prunes = self._last is None or time // 60 != self._last // 60
        self._last = time
        self._write(rows, time if prunes else None, catalogue)

    def _loaded(self) -> Catalogue | None:
        if self._catalogue is None:
            loaded = Catalogue()
            try:
                with self._database.transaction() as database:
                    loaded.load(database)
            except (sqlite3.Error, OSError) as error:
                self._fail(error)
            else:
                self._catalogue = loaded
        return self._catalogue

    # ---- figures ----

    def _take(self, snapshot: Snapshot, catalogue: Catalogue) -> None:
        windows = {found.family.metric.name: found for found in snapshot.windows()}
        there = set()
        for name, family in snapshot.families.items():
            known = catalogue.metric(family)
            numbers = known.numbers(family.labels, catalogue)
            track = self._tracks.get(known.number)
            if track is None:
                track = self._tracks[known.number] = TRACKS[family.metric.kind]()
            track.take(Look(family, numbers, snapshot, windows.get(name), self._last is not None))
            there.add(known.number)
        for number in self._tracks.keys() - there:
            self._tracks[number].leave()

    def _close_passed(self, time: int, catalogue: Catalogue) -> Iterator[Row]:
        """Rows of minutes and hours that have ended since the last look, with what there was then."""
        for level, resolution in enumerate(RESOLUTIONS):
            if self._last is not None and (ended := (self._last // resolution + 1) * resolution) < time:
                yield from self._close(level, ended, catalogue) if level else ()

    def _close(self, level: int, time: int, catalogue: Catalogue) -> Iterator[Row]:
        resolution = RESOLUTIONS[level]
        whole = time // (resolution * ALL_EVERY)
        everything, self._whole[level] = whole != self._whole[level], whole
        for metric, track in self._tracks.items():
            numbers, records = track.close(level, everything)
            if len(numbers):
                for shard, data in split(numbers, records):
                    place = key(catalogue.shard(metric, shard), time)
                    yield Row(resolution, place, data, len(data) // records.itemsize)

    # ---- the disk ----

    def _write(self, rows: list[Row], prunes: int | None, catalogue: Catalogue) -> None:
        """prunes: the time now, if it is time to look for old rows."""
        try:
            with self._database.transaction() as database:
                catalogue.write(database)
                for row in rows:
                    database.execute(
                        f"INSERT OR REPLACE INTO {table(row.resolution)} VALUES (?, ?)", (row.key, row.data)
                    )
                newest = {row.resolution: row.key % (1 << TIME_BITS) for row in rows}
                database.executemany("INSERT OR REPLACE INTO history_newest VALUES (?, ?)", newest.items())
                if prunes is not None:
                    self._prune(database, prunes, range(1, catalogue.shards + 1))
        except (sqlite3.Error, OSError) as error:
            self.lost += sum(row.series for row in rows)
            self._fail(error)
        else:
            catalogue.written()
            self.failing = False

    def _fail(self, error: Exception) -> None:
        if not self.failing:
            logger.warning("history of namespace %s is lost, as long as that lasts: %s", self._namespace, error)
        self.failing = True

    def _prune(self, database: sqlite3.Connection, now: int, shards: Iterable[int]) -> None:
        self._kept = self._bound(database)
        kept = self._kept, self._retention.minutes, self._retention.hours
        for resolution, seconds in zip(RESOLUTIONS, kept, strict=True):
            until = max(0, now - int(seconds))
            database.executemany(
                f"DELETE FROM {table(resolution)} WHERE key >= ? AND key < ?",
                ((key(shard, 0), key(shard, until)) for shard in shards),
            )

    def _bound(self, database: sqlite3.Connection) -> float:
        """How many seconds to keep of the finest rows now."""
        size, pages, free = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        events = sum(kept.bytes for kept in Kept.all(database))
        if (pages - free) * size - events > self._retention.size:
            return max(LEAST, self._kept * 0.8)
        return min(self._retention.seconds, self._kept * 1.02)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
