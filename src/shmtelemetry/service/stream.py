"""WebSocket: the updates of one namespace, made once and sent to all who listen."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..errors import StateError, one_line
from .messages import ALERTS, Ping, Subscription, message, read, update
from .settings import ServiceSettings
from .ticks import Feed, Tick

SLOW_SECONDS: Final = 20.0  # that a client may take for one message
RATE: Final = 20.0  # messages a second that a client may send
BURST: Final = 100.0  # messages that it may send at once
PERIOD: Final = 1.0  # seconds between two looks at the alerts, and at who is stuck
POLICY_VIOLATION: Final = 1008  # RFC 6455, section 7.4.1

logger = logging.getLogger("shmtelemetry")

Emit = Callable[[float], object]
Alerts = Callable[[], Awaitable[list[dict[str, Any]]]]


class Client:
    """One connection: what it wants, and what waits for it.

    At most `room` messages wait; of more the oldest are dropped, which `sequence` and `previous` tell the client.
    """

    def __init__(self, websocket: WebSocket, room: int, sent: Emit) -> None:
        self.websocket, self._sent = websocket, sent
        self.subscription = Subscription()
        self.dropped = 0
        self.seen = 0  # number of the newest tick that was offered
        self._waiting: deque[str] = deque(maxlen=room)
        self._comes = asyncio.Event()
        self._since: float | None = None  # when the message that is under way was handed over
        self._tokens, self._filled = BURST, asyncio.get_running_loop().time()

    def offer(self, text: str) -> bool:
        """Send it as soon as may be; False if another one had to go for it."""
        full = len(self._waiting) == self._waiting.maxlen
        self.dropped += full
        self._waiting.append(text)
        self._comes.set()
        return not full

    def is_stuck(self, now: float) -> bool:
        return self._since is not None and now - self._since > SLOW_SECONDS

    def may_speak(self, now: float) -> bool:
        """Whether it has not sent too many messages; called for each."""
        self._tokens = min(BURST, self._tokens + (now - self._filled) * RATE) - 1
        self._filled = now
        return self._tokens >= 0

    async def send_all(self) -> None:
        """Send what comes, until cancelled or the client has gone."""
        time = asyncio.get_running_loop().time
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await self._comes.wait()
                self._comes.clear()
                while self._waiting:
                    self._since = time()
                    await self.websocket.send({"type": "websocket.send", "text": self._waiting.popleft()})
                    self._since = None
                    self._sent(1.0)


class Hub:
    """Sends each tick of a feed to its clients, and what else they want; does nothing while there are none.

    alerts: the alerts that are not resolved. settings: of the service. sent, dropped: count messages.
    """

    def __init__(self, feed: Feed, alerts: Alerts, settings: ServiceSettings, sent: Emit, dropped: Emit) -> None:
        self._feed, self._alerts, self._settings = feed, alerts, settings
        self._sent, self._dropped = sent, dropped
        self._clients: dict[Client, asyncio.Task[None]] = {}  # and who sends to it
        self._jobs: list[asyncio.Task[None]] = []
        self._open_alerts: list[dict[str, Any]] = []
        self._previous = 0  # number of the tick that was sent to all

    async def serve(self, websocket: WebSocket) -> None:
        """A connection, from before it is accepted to its end."""
        await websocket.accept()
        settings = self._settings
        client = Client(websocket, settings.ws_message_queue_size, self._sent)
        beat = {"interval": settings.interval, "heartbeat_interval": settings.ws_heartbeat_interval}
        client.offer(message("connected", namespace=self._feed.namespace, topics=await self._topics(), **beat))
        listener, sender = asyncio.create_task(self._listen(client)), asyncio.create_task(client.send_all())
        self._add(client, sender)
        try:
            await self._catch_up(client)
            await asyncio.wait((listener, sender), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._remove(client)
            for task in (listener, sender):
                task.cancel()

    def _add(self, client: Client, sender: asyncio.Task[None]) -> None:
        self._clients[client] = sender
        if not self._jobs:
            jobs = self._send_updates, self._send_heartbeats, self._look_after
            self._jobs = [asyncio.create_task(job()) for job in jobs]

    def _remove(self, client: Client) -> None:
        del self._clients[client]
        if not self._clients:
            self._end_jobs()

    def _end_jobs(self) -> None:
        for job in self._jobs:
            job.cancel()
        self._jobs = []

    async def _topics(self) -> list[str]:
        """What can be subscribed to."""
        with contextlib.suppress(StateError):
            return [*(await self._feed.tick()).sections, ALERTS]
        return [ALERTS]

    # ---- what clients say ----

    async def _listen(self, client: Client) -> None:
        time = asyncio.get_running_loop().time
        websocket = client.websocket
        while (event := await websocket.receive())["type"] == "websocket.receive":
            if not client.may_speak(time()):
                await websocket.close(POLICY_VIOLATION, f"more than {RATE:.0f} messages a second")
                return
            await self._hear(client, event.get("text"))

    async def _hear(self, client: Client, text: str | None) -> None:
        if text == "ping":
            self._offer(client, "pong")
            return
        try:
            asked = read(text or "")
        except ValueError as error:
            said = 'expected ping, or JSON such as {"type": "subscribe", "topics": ["market_data"]}'
            self._offer(client, message("error", code="invalid_message", message=f"{said}: {one_line(error)}"))
            return
        if isinstance(asked, Ping):
            self._offer(client, message("pong"))
            return
        subscription, topics = Subscription.of(asked), await self._topics()
        if unknown := subscription.beyond(topics):
            said = f"there is no topic {', '.join(unknown)}: expected some of {', '.join(topics)}"
            self._offer(client, message("error", code="unknown_topic", message=said))
            return
        client.subscription = subscription
        self._offer(client, message("subscribed", **subscription.said()))
        client.seen = 0
        await self._catch_up(client)

    async def _catch_up(self, client: Client) -> None:
        """All that there is now of what it wants."""
        if client.subscription.wants_updates:
            try:
                self._update(client, await self._feed.tick())
            except StateError as error:
                self._offer(client, message("error", code="unavailable", message=str(error)))
        if client.subscription.wants(ALERTS) and (alerts := await self._known_alerts()) is not None:
            self._offer(client, message(ALERTS, alerts=alerts))

    # ---- what they are sent ----

    def _update(self, client: Client, tick: Tick) -> None:
        """Send a tick, unless it was sent, or a newer one."""
        if tick.number > client.seen and client.subscription.wants_updates:
            client.seen = tick.number
            self._offer(client, update(tick, self._previous, client.subscription))

    async def _send_updates(self) -> None:
        number = 0
        while True:
            number = await self._feed.next(number)
            try:
                tick = await self._feed.tick()
            except StateError:
                continue  # who connects is told
            except Exception:
                logger.exception("an update could not be made")
                continue
            for client in self._clients:
                self._update(client, tick)
            self._previous = tick.number

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self._settings.ws_heartbeat_interval)
            for client in self._clients:
                self._offer(client, message("heartbeat", dropped=client.dropped))

    async def _look_after(self) -> None:
        """Cut off who is stuck, and tell who listens when the alerts are others than before."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PERIOD)
            for client, sender in self._clients.items():
                if client.is_stuck(loop.time()):
                    logger.warning("a WebSocket client took no message for %.0f s, and is cut off", SLOW_SECONDS)
                    sender.cancel()
            if any(client.subscription.wants(ALERTS) for client in self._clients):
                await self._send_alerts()

    async def _known_alerts(self) -> list[dict[str, Any]] | None:
        """None where they cannot be read: figures are told all the same."""
        try:
            return await self._alerts()
        except Exception:
            logger.exception("the alerts cannot be told")
            return None

    async def _send_alerts(self) -> None:
        alerts = await self._known_alerts()
        if alerts is not None and alerts != self._open_alerts:
            self._open_alerts, text = alerts, message(ALERTS, alerts=alerts)
            for client in self._clients:
                if client.subscription.wants(ALERTS):
                    self._offer(client, text)

    def _offer(self, client: Client, text: str) -> None:
        if not client.offer(text):
            self._dropped(1.0)
