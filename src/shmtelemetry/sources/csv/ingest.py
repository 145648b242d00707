"""Ingest: follow one file for as long as it is wanted, wherever it is rotated to, and take each of its rows once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ... import layout
from ..._ring import Producer
from ...errors import ShmtelError
from ...producer import Setup
from ...recordings import unlink_surplus
from ...telemetry import Telemetry
from ..intake import Intake
from .columns import Columns
from .feed import Feed, Say, Stop, Stopped
from .files import File, rotated
from .place import Place, last_place, path_digest

CAPACITY: Final = 8192  # records of the ring, which stays until the next one has records
POLL: Final = 0.02  # seconds between two looks at a file that does not grow
COUNTS: Final = 1024  # records of the ring of the source's own figures


@dataclass(frozen=True, slots=True)
class Settings:
    """path: of the file. namespace, producer: whose records the rows become; one name follows one file. follow: whether
    to go on at the file's end. from_start: where nothing of the file is taken yet, take all that is in it, and not only
    its last row."""

    path: str
    columns: Columns
    namespace: str = "default"
    producer: str = "csv"
    follow: bool = False
    from_start: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """rows: that were taken. rejected: lines that were not, by reason. bytes: of the files."""

    rows: int
    rejected: dict[str, int]
    bytes: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "rejected": self.rejected, "bytes": self.bytes, "seconds": round(self.seconds, 3)}


def intake_name(producer: str) -> str:
    """The name under which a source emits its own figures."""
    return f"{producer}-intake"


def ingest(settings: Settings, stop: Stop, say: Say, show: Callable[[Summary], object] = lambda _: None) -> Summary:
    """Take the rows of a file until its end, or until `stop` says so.

    stop: waits for so many seconds at most; whether to end. say: takes a line for people. show: now and then, how
    things stand. Raises ShmtelError for a file that cannot be read, and where the name is in use.
    """
    place = last_place(settings.namespace, settings.producer)
    setup = Setup(
        settings.namespace, settings.producer, settings.columns.schema, CAPACITY, "block", flags=layout.FLAG_HEIR
    )
    with (
        Producer(settings.producer, settings.columns.schema, setup=setup) as producer,
        Telemetry(intake_name(settings.producer), settings.namespace, COUNTS) as telemetry,
    ):
        last_place(settings.namespace, settings.producer, producer.segment)  # whoever began at the same time
        unlink_surplus(settings.namespace, settings.producer)  # which another user's reader may not remove
        path = path_digest(settings.path)
        feed = Feed(settings.columns, producer, Intake(telemetry, "csv"), path, stop, say)
        return _Follower(settings, feed, stop, say, show).run(place if place and place.path == path else None)


class _Follower:
    """One run of ingest."""

    def __init__(self, settings: Settings, feed: Feed, stop: Stop, say: Say, show: Callable[[Summary], object]) -> None:
        self._settings, self._feed, self._stop, self._say, self._show = settings, feed, stop, say, show
        self._began = self._shown = time.monotonic()

    def run(self, place: Place | None) -> Summary:
        file = None
        try:
            file = self._first(place)
            if self._settings.follow:
                while True:
                    file = self._turn(file)
            elif file is not None:
                self._finish(file)
        except Stopped:
            pass
        finally:
            if file is not None:
                file.close()
        return self._summary()

    def _summary(self) -> Summary:
        feed = self._feed
        return Summary(feed.rows, dict(feed.rejected), feed.bytes, time.monotonic() - self._began)

    def _tick(self) -> None:
        if time.monotonic() - self._shown >= 0.5:
            self._shown = time.monotonic()
            self._show(self._summary())
        if self._stop(0.0):
            raise Stopped

    def _first(self, place: Place | None) -> File | None:
        """The file at its next row, after what is left of those that it was rotated to; None if there is none."""
        file = self._open()
        if file is None and not self._settings.follow:
            raise ShmtelError(f"there is no {self._settings.path}: with --follow it is waited for")
        if place is None:
            if file is not None and self._settings.follow and not self._settings.from_start:
                file.go_to_last_row()
        elif file is not None and file.is_at(place):
            file.go_to(place.offset, place.line + 1, place.header)
        else:
            self._take_rotated(place, file)
        if file is not None:
            self._feed.begin(file)
        return file

    def _open(self) -> File | None:
        try:
            return File(self._settings.path)
        except FileNotFoundError:
            return None

    # ---- following ----

    def _turn(self, file: File | None) -> File | None:
        """Take what there is; returns the file to go on with."""
        self._tick()
        if file is None:
            return self._await()
        if not file.is_what_it_was():
            return self._after_truncation(file)
        data = file.read(file.at)
        if not file.is_what_it_was():  # it was cut short while it was read
            return self._after_truncation(file)
        if self._feed.take(file, data):
            return file
        if not file.is_under(self._settings.path):
            return self._after_rotation(file)
        self._wait()
        return file

    def _wait(self) -> None:
        if self._stop(POLL):
            raise Stopped

    def _await(self) -> File:
        """The file, when it appears."""
        file, told = self._open(), False
        while file is None:
            if not told:
                self._say(f"waiting for {self._settings.path}")
                told = True
            self._wait()
            file = self._open()
        self._feed.begin(file)
        return file

    def _after_rotation(self, file: File) -> File | None:
        """The path leads to another file, or to none: go on with that as soon as it has rows."""
        another = self._open()
        if another is None or not another.size:
            if another is not None:
                another.close()
            self._wait()
            return file
        self._say(f"{file.path} was rotated")
        self._finish(file, is_over=True)
        self._take_rotated(file.place(), another, file.modified_ns)
        file.close()
        self._feed.begin(another)
        return another

    def _after_truncation(self, file: File) -> File | None:
        """It begins anew, and a copy may have what was not taken yet."""
        self._say(f"{file.path} was cut short: it begins anew")
        another = self._open()
        self._take_rotated(file.place(), another)
        file.close()
        if another is not None:
            self._feed.begin(another)
        return another

    # ---- files that do not grow any more ----

    def _take_rotated(self, place: Place, following: File | None, since_ns: int | None = None) -> None:
        """Take what is behind a place, of the file that it is in and of those that were written after that.

        following: which is taken next, whatever its name is meanwhile. since_ns: when the file of the place was last
        written, where it is taken already.
        """
        found = since_ns is not None
        for path in rotated(self._settings.path):
            try:
                with File(path) as file:
                    if following is not None and file.is_same(following):
                        continue
                    if file.is_at(place):
                        if since_ns is None:
                            file.go_to(place.offset, place.line + 1, place.header)
                            self._take_whole(file)
                        found = True
                    elif found and (since_ns is None or file.modified_ns > since_ns):
                        self._take_whole(file)
            except FileNotFoundError:  # a rotation further
                continue
            except ShmtelError as error:
                self._say(str(error))
                self._feed.reject("gzip", path)
        if not found:
            self._say("the file that was read before is gone: what it had beyond its last row taken is not known")

    def _take_whole(self, file: File) -> None:
        self._say(f"{file.path}: taking what is left of it")
        self._feed.begin(file)
        self._finish(file, is_over=True)

    def _finish(self, file: File, is_over: bool = False) -> None:
        """Take a file up to its end. is_over: nobody writes to it any more."""
        while True:
            self._tick()
            data = file.read(file.at)
            if self._feed.take(file, data):
                continue
            if data and file.gzip is not None:  # as it is packed, its last line is whole
                self._feed.take(file, data + b"\n")
            elif data and is_over:
                self._feed.reject("unfinished", f"{file.path}:{file.line}")
            return
