"""The service's database: one SQLite file a namespace, with history, events and alerts.

In WAL mode those who read wait for nobody, and nobody for them (https://www.sqlite.org/wal.html). synchronous=NORMAL: a
transaction survives the death of any process; one of the last seconds may be lost with the machine, as are the rings.
"""

import contextlib
import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

APPLICATION: Final = int.from_bytes(b"shmt")  # https://www.sqlite.org/pragma.html#pragma_application_id
VERSION: Final = 3
PATIENCE: Final = 5.0  # seconds that one waits for another who writes
WAL_LIMIT: Final = 64 * 2**20  # bytes that the log keeps when it has been larger
STEPS: Final = 10_000  # of SQLite's machine between two looks whether anybody still waits for the answer

TABLES: Final = """
-- history: a series has a place in a shard of its metric, and a row of a resolution has one time of one shard
CREATE TABLE metric (
    id INTEGER PRIMARY KEY, name TEXT, kind TEXT, labels TEXT, unit TEXT, help TEXT, UNIQUE (name, kind, labels));
CREATE TABLE shard (id INTEGER PRIMARY KEY, metric INTEGER REFERENCES metric, number INTEGER);
CREATE TABLE series (
    metric INTEGER REFERENCES metric, labels TEXT, number INTEGER, PRIMARY KEY (metric, labels)) WITHOUT ROWID;
CREATE TABLE history_newest (resolution INTEGER PRIMARY KEY, time INTEGER);
CREATE TABLE history_1 (key INTEGER PRIMARY KEY, data BLOB);
CREATE TABLE history_60 (key INTEGER PRIMARY KEY, data BLOB);
CREATE TABLE history_3600 (key INTEGER PRIMARY KEY, data BLOB);

-- events: a table events_<id> for each schema, made when it first comes
CREATE TABLE event_schema (
    id INTEGER PRIMARY KEY, json BLOB UNIQUE, stored INTEGER, let_go INTEGER, event_bytes INTEGER);
CREATE TABLE event_ring (
    id INTEGER PRIMARY KEY, uuid BLOB UNIQUE, producer TEXT, schema INTEGER REFERENCES event_schema,
    position INTEGER, let_go INTEGER, changed REAL);
-- between which times the events of a block are, whose ids have the same bits above the lowest 12
CREATE TABLE event_block (
    schema INTEGER REFERENCES event_schema, block INTEGER, earliest INTEGER, latest INTEGER,
    PRIMARY KEY (schema, block)) WITHOUT ROWID;

-- alerts
CREATE TABLE alert (
    id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT, name TEXT, labels TEXT, since REAL, severity TEXT, summary TEXT,
    runbook TEXT, value REAL, fired REAL, ended REAL, resolved REAL, resolved_by TEXT, acknowledged REAL,
    acknowledged_by TEXT, note TEXT, acknowledged_until REAL, heard REAL, told_in TEXT,
    UNIQUE (source, name, labels, since));
CREATE INDEX alert_open ON alert (source) WHERE ended IS NULL;
"""


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where databases are by default: $XDG_STATE_HOME/shmtelemetry.

    https://specifications.freedesktop.org/basedir-spec/latest/: ~/.local/state, also instead of a relative path.
    """
    home = environment.get("XDG_STATE_HOME", "")
    if not os.path.isabs(home):
        home = os.path.expanduser("~/.local/state")
    return Path(home) / "shmtelemetry"


def database_path(namespace: str, folder: Path | None = None) -> Path:
    return (folder or state_folder()) / f"{namespace}.sqlite"


def check_database(path: Path) -> None:
    """Raises ValueError for a file that is there and cannot be ours.

    By SQLite alone: to open and close the file by other means would drop the locks that this process has on it, and
    another one would remove the log that is being written (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    if not path.exists():
        return
    try:
        connection = _connect(path)
        try:
            application, version = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
        finally:
            connection.close()
    except sqlite3.OperationalError:  # the disk is in trouble, which may pass
        return
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is no SQLite database: move it away, or name another state folder") from error
    if application != APPLICATION:
        raise ValueError(f"{path} is a database of another program: move it away, or name another state folder")
    if version != VERSION:
        raise ValueError(f"{path} has version {version}, expected {VERSION}: another release wrote it; move it away")


class Database:
    """The connection that writes, opened when it is first needed, so that a disk in trouble keeps nobody from starting.

    Threads may share it, one at a time. Whatever is wrong with the disk is a sqlite3.Error, or an OSError where the
    file cannot be made. Raises ValueError, as check_database.
    """

    def __init__(self, path: Path) -> None:
        check_database(path)
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is written within it is there, or nothing of it."""
        with self._lock:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:  # a full disk may have ended it already
                    connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """All that is read within it is of one moment. Raises FileNotFoundError where there is no database yet."""
        with self._lock:
            if self._connection is None and not self.path.exists():
                raise FileNotFoundError(self.path)
            with _read(self._opened()) as connection:
                yield connection

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self.path.exists():
                _make(self.path)
            self._connection = _connect(self.path)
            self._connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
            self._connection.execute("PRAGMA synchronous = NORMAL")
        return self._connection

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Readers:
    """Connections that only read, as many as are used at once: nobody who reads waits for another one.

    Threads may share it. Raises as Database does.
    """

    def __init__(self, path: Path) -> None:
        check_database(path)
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def reading(self, stopped: Callable[[], bool] | None = None) -> Iterator[sqlite3.Connection]:
        """All that is read within it is of one moment. stopped: whether nobody wants it any more; then a query raises
        sqlite3.OperationalError. Raises FileNotFoundError where there is no database yet."""
        connection = self._taken()
        try:
            connection.set_progress_handler(stopped, STEPS)
            with _read(connection):
                yield connection
        finally:
            connection.set_progress_handler(None, 0)
            self._give_back(connection)

    def _taken(self) -> sqlite3.Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        if not self.path.exists():
            raise FileNotFoundError(self.path)
        return _connect(self.path)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """What is still read is read to its end."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


@contextmanager
def _read(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


def _make(path: Path) -> None:
    """It appears under its name complete, if nobody else was faster."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
        made = Path(folder) / path.name
        os.close(os.open(made, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite itself goes by the umask
        connection = _connect(made)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            pragmas = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
            connection.executescript(f"BEGIN; {TABLES} {pragmas} COMMIT;")
        finally:
            connection.close()
        with contextlib.suppress(FileExistsError):
            os.link(made, path)
