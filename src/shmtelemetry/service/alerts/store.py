"""AlertStore: the list of alerts, whoever found them, in the service's database."""

import contextlib
import json
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any, Final, Self

from ..database import Database, Readers
from .alert import ALERTMANAGER, RULES, Alert
from .alertmanager import message_of

STATES: Final = ("pending", "firing", "resolved")
KEEP: Final = 90 * 86400.0  # seconds after which an alert is forgotten that has ended, or that no Alertmanager repeats
MOST: Final = 1000  # in a list
LONGEST: Final = 1000  # characters of who acknowledges, and of a note


class AlertStore:
    """Any process may list, which waits for nobody, acknowledge and resolve; one process records what rules find.

    Raises ValueError for a file that is no such database; trouble with the disk is a sqlite3.Error or an OSError.
    """

    def __init__(self, path: Path) -> None:
        self._database, self._readers = Database(path), Readers(path)

    # ---- what was found ----

    def active(self) -> list[Alert]:
        """Alerts of rules that have not ended, resolved by hand or not."""
        with contextlib.suppress(FileNotFoundError), self._readers.reading() as database:
            found = _rows(database, "SELECT * FROM alert WHERE source = ? AND ended IS NULL", (RULES,))
            return [_alert(row) for row in found]
        return []

    def record(self, alerts: Iterable[Alert]) -> list[int]:
        """Keep what has become of alerts; returns their ids, 0 for those that are forgotten since they never fired."""
        return self._record(alerts, "")

    def from_alertmanager(self, body: bytes | str | Mapping[str, Any]) -> list[int]:
        """Keep what a webhook of an Alertmanager sends; returns the ids of its alerts.

        An alert of the same group that the message has no more is over: Alertmanager never tells of the end of an alert
        that a more urgent one silenced. It fires anew when it is told again.
        """
        message = message_of(body)
        return self._record(message.alerts, message.group)

    def _record(self, alerts: Iterable[Alert], group: str) -> list[int]:
        with self._database.transaction() as database:
            now = time.time()
            done = [_record(database, alert, group, now) for alert in alerts]
            query = "UPDATE alert SET ended = ?1 WHERE told_in = ?2 AND told_in != '' AND ended IS NULL AND heard < ?1"
            database.execute(query, (now, group))
            query = "DELETE FROM alert WHERE ended < ?1 OR (source = ?2 AND heard < ?1)"
            database.execute(query, (now - KEEP, ALERTMANAGER))
        return done

    # ---- what people do ----

    def list(self, state: str | None = None, limit: int = MOST) -> list[dict[str, Any]]:
        """The newest first. state: pending, firing or resolved. Raises ValueError for another one.

        Each has id, source, name, labels, severity, state, value (None where it is not known), summary, runbook, since,
        fired, resolved, resolved_by (None where nobody did it by hand), and acknowledged: None, or by, note, at and
        until. An acknowledgement is over after `until`.
        """
        if state is not None and state not in STATES:
            raise ValueError(f"state {state!r}: expected one of {', '.join(STATES)}")
        if not 0 < limit <= MOST:
            raise ValueError(f"limit {limit!r}: expected 1 to {MOST:,}")
        with contextlib.suppress(FileNotFoundError), self._readers.reading() as database:
            where = f"WHERE {_STATE} = ?" if state else "WHERE ? IS NULL"
            found = _rows(
                database, f"SELECT *, {_STATE} AS state FROM alert {where} ORDER BY id DESC LIMIT ?", (state, limit)
            )
            return [_dictionary(row) for row in found]
        return []

    def acknowledge(self, number: int, who: str, note: str = "", until: float | None = None) -> dict[str, Any]:
        """Note that somebody knows of it, until a moment or for as long as it lasts; returns it as `list` does.

        Raises KeyError for an alert that there is none of, ValueError for one that is resolved, and for a moment that
        has passed.
        """
        who, note, now = _text("who", who), _text("note", note, least=0), time.time()
        if until is not None and not now < until < math.inf:
            raise ValueError(f"until {until!r}: expected a moment in the future, in seconds since the epoch")
        return self._change(
            number, "acknowledged = ?, acknowledged_by = ?, note = ?, acknowledged_until = ?", (now, who, note, until)
        )

    def resolve(self, number: int, who: str) -> dict[str, Any]:
        """Close it by hand: it stays so until it has ended and is found anew. Returns and raises as `acknowledge`."""
        return self._change(number, "resolved = ?, resolved_by = ?", (time.time(), _text("who", who)))

    def _change(self, number: int, what: str, values: tuple[Any, ...]) -> dict[str, Any]:
        with self._database.transaction() as database:
            found = _rows(database, f"SELECT *, {_STATE} AS state FROM alert WHERE id = ?", (number,))
            if not found:
                raise KeyError(f"no alert {number}")
            if found[0]["state"] == "resolved":
                raise ValueError(f"alert {number} is resolved")
            database.execute(f"UPDATE alert SET {what} WHERE id = ?", (*values, number))
            return _dictionary(_rows(database, f"SELECT *, {_STATE} AS state FROM alert WHERE id = ?", (number,))[0])

    def close(self) -> None:
        self._database.close()
        self._readers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


_STATE: Final = (
    "CASE WHEN ended IS NOT NULL OR resolved IS NOT NULL THEN 'resolved' WHEN fired IS NOT NULL THEN 'firing'"
    " ELSE 'pending' END"
)


def _rows(database: Connection, query: str, parameters: tuple[Any, ...]) -> list[Row]:
    cursor = database.cursor()
    cursor.row_factory = Row
    return cursor.execute(query, parameters).fetchall()


def _record(database: Connection, alert: Alert, group: str, now: float) -> int:
    labels = json.dumps(dict(sorted(alert.labels.items())))
    identity = alert.source, alert.name, labels, alert.since
    if alert.state == "inactive":
        database.execute("DELETE FROM alert WHERE (source, name, labels, since) = (?, ?, ?, ?)", identity)
        return 0
    number = database.execute(
        "INSERT INTO alert (source, name, labels, since, severity, summary, runbook, value, fired, ended,"
        " heard, told_in) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (source, name, labels, since) DO UPDATE SET"
        " severity = excluded.severity, summary = excluded.summary, runbook = excluded.runbook, value = excluded.value,"
        " fired = excluded.fired, ended = excluded.ended, heard = excluded.heard, told_in = excluded.told_in"
        " RETURNING id",
        (*identity, alert.severity, alert.summary, alert.runbook, alert.value, alert.fired, alert.ended, now, group),
    ).fetchone()[0]
    return int(number)


def _alert(row: Row) -> Alert:
    value = math.nan if row["value"] is None else row["value"]
    texts = row["severity"], row["summary"], row["runbook"]
    return Alert(row["source"], row["name"], json.loads(row["labels"]), row["since"], *texts, value, row["fired"])


def _dictionary(row: Row) -> dict[str, Any]:
    acknowledged = None
    if row["acknowledged"] is not None and (row["acknowledged_until"] or math.inf) > time.time():
        acknowledged = {
            "by": row["acknowledged_by"], "note": row["note"], "at": row["acknowledged"],
            "until": row["acknowledged_until"],
        }  # fmt: skip
    times = [moment for moment in (row["ended"], row["resolved"]) if moment is not None]
    return {
        **{name: row[name] for name in ("id", "source", "name")},
        "labels": json.loads(row["labels"]),
        **{name: row[name] for name in ("severity", "state", "value", "summary", "runbook", "since", "fired")},
        "resolved": min(times, default=None),
        "resolved_by": row["resolved_by"],
        "acknowledged": acknowledged,
    }


def _text(name: str, value: str, least: int = 1) -> str:
    if not isinstance(value, str) or not least <= len(value) <= LONGEST:
        raise ValueError(f"{name} of {len(value):,} characters: expected {least} to {LONGEST:,}")
    return value
