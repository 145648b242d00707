"""What one worker of a service has of one namespace."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from ..aggregate.snapshot import Snapshot
from ..errors import StateError
from ..exporters.answers import Answers
from ..exporters.http import Health
from .alerts import AlertStore
from .alerts.alertmanager import LAST
from .collectors import Collectors, standard
from .collectors.base import OWN
from .counted import Counted
from .database import database_path
from .history import History, trouble
from .pace import Pace
from .settings import ServiceSettings
from .stream import Hub
from .ticks import Feed, Sections

logger = logging.getLogger("shmtelemetry")

READER: Final = "reader"
HISTORY: Final = "history"
TELEMETRY: Final = "telemetry"  # the section that is no collector's
TURNING: Final = 2.0  # seconds without a turn after which the reader's figures are not up to date
PERIOD: Final = 1.0  # seconds between two looks at least
STALLED: Final = 5.0  # after which it is to be started again


class Look(Protocol):
    """Sees what a namespace's reader has aggregated: reader.Onlooker is one."""

    namespace: str

    def snapshot(self, distributions: bool = True) -> Snapshot: ...
    def scrape(self, distributions: bool = False) -> Snapshot: ...
    def catch_up(self, timeout: float = 0.05) -> bool: ...
    def turn(self) -> tuple[int, float]: ...
    def close(self) -> None: ...


class Drain:
    """Whether a namespace's reader does its work."""

    def __init__(self, look: Look) -> None:
        self._look, self._began = look, time.monotonic()
        self._held = 0  # pid of a reader that was seen to hold its rings

    def ready(self) -> Health:
        """Whether a reader holds the rings, and turns. May take 50 ms."""
        pid, age = self._look.turn()
        details = {"namespace": self._look.namespace, "reader": pid, "age_seconds": _rounded(age)}
        if age > TURNING:
            reason = "the reader's loop stands still: figures are not up to date" if pid else "there is no reader"
            return Health(False, reason, details)
        if self._held != pid and self._look.catch_up():
            self._held = pid
        return Health(self._held == pid, "" if self._held == pid else "the reader does not hold its rings yet", details)

    def live(self) -> Health:
        """Whether the reader does not stand still, and began within as many seconds of our own start."""
        _, age = self._look.turn()
        stands = min(age, time.monotonic() - self._began) > STALLED
        return Health(not stands, "the reader's loop stands still: start it again" if stands else "")


def alert_told(alert: dict[str, Any]) -> dict[str, Any]:
    """An alert of the store, with moments as all answers tell them."""
    told = {**alert, **{name: _moment(alert[name]) for name in ("since", "fired", "resolved")}}
    if (known := alert["acknowledged"]) is not None:
        told["acknowledged"] = {**known, "at": _moment(known["at"]), "until": _moment(known["until"])}
    return told


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(min(max(seconds, 0.0), LAST), UTC)


def _rounded(seconds: float) -> float | None:
    return round(seconds, 3) if seconds < float("inf") else None


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the service. status: ok, degraded or unavailable. reason: why it is not ok. age: seconds since what it
    says was so, None before it has said anything."""

    name: str
    status: str
    reason: str
    age: float | None


class Watched:
    """A namespace as one worker shows it: health, figures by ticks, updates of them, and what Prometheus gets.

    look: sees the figures; closed with this. settings: of the service. expose: what of a snapshot `/metrics` shows.
    counted: counts messages and figures. A user's own collectors are asked for the service's own namespace alone.
    """

    def __init__(
        self, look: Look, settings: ServiceSettings, expose: Callable[[Snapshot], Snapshot], counted: Counted
    ) -> None:
        self._look, self._expose = look, expose
        self.drain = Drain(look)
        database = database_path(look.namespace, settings.state_dir)
        self.history, self.alerts = History(database), AlertStore(database)
        collectors = standard(self._last_seen, self.history)
        if look.namespace != settings.namespace:
            collectors = [collector for collector in collectors if collector.name in OWN]
        self._collectors = Collectors(collectors, counted=counted.collected)
        self._pace = Pace()
        self._looking: asyncio.Task[None] | None = None
        self._seen: Snapshot | None = None
        self.feed = Feed(look.namespace, lambda: look.snapshot(False), self._collect, settings.interval)
        self.hub = Hub(self.feed, self.open_alerts, settings, counted.sent.emit, counted.dropped.emit)
        self.answers = Answers(self._scrape)

    @property
    def namespace(self) -> str:
        return self._look.namespace

    def _scrape(self, distributions: bool) -> Snapshot:
        return self._expose(self._look.scrape(distributions))

    def start(self) -> None:
        """Look once a second, whoever asks: what is told of the last second is of the last second."""
        self._looking = asyncio.create_task(self._look_often())

    async def _look_often(self) -> None:
        while True:
            try:
                await self.feed.tick()
            except StateError:
                pass  # there are no figures yet: who asks is told
            except Exception:
                logger.exception("the figures of %s cannot be seen", self.namespace)
            await asyncio.sleep(PERIOD)

    def _last_seen(self) -> Snapshot:
        assert self._seen is not None  # collectors are asked when something was seen
        return self._seen

    async def _collect(self, snapshot: Snapshot) -> Sections:
        self._seen = snapshot
        answers = await self._collectors.collect()
        return {TELEMETRY: self._pace(snapshot)} | {name: answer.metrics for name, answer in answers.items()}

    async def open_alerts(self) -> list[dict[str, Any]]:
        """Those that fire."""
        return [alert_told(alert) for alert in await asyncio.to_thread(self.alerts.list, "firing")]

    async def components(self) -> list[Component]:
        """The reader, the history and each collector."""
        ready = await asyncio.to_thread(self.drain.ready)
        age = _rounded(self._look.turn()[1])
        found = [Component(READER, "ok" if ready.ready else "unavailable", ready.reason, age)]
        failing = trouble(self._seen) if self._seen is not None else ""
        found.append(Component(HISTORY, "degraded" if failing else "ok", failing, age))
        for name, answer in self._collectors.answers().items():
            found.append(Component(name, "degraded" if answer.error else "ok", answer.error, answer.age))
        return found

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self.feed.close()
        await self._collectors.stop()
        self.history.close()
        self.alerts.close()
        self._look.close()
