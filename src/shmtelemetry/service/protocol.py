"""uvicorn's protocols with the bounds that they lack: on a request's head, on those who wait, and on farewells."""

import socket
from asyncio import Task, TimerHandle, Transport
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ..exporters.connections import HEAD_SECONDS, IDLE_SECONDS
from ..exporters.http import HEAD_BYTES

MAX_WAITING: Final = 256  # connections that have let us wait for a request's head
UNSENT: Final = 16 * 1024  # bytes of a WebSocket that wait in the server, and as many in the kernel
FAREWELL_SECONDS: Final = 10.0  # to take what is left when the application is done with a WebSocket


class BoundedHttp(HttpToolsProtocol):
    """A connection that says its request slowly, or none, is ended; the oldest of them at once where there are many.

    So whoever says his request at once is served, however many others do not.
    """

    waiting: ClassVar[dict["BoundedHttp", None]] = {}  # in order of their coming; a process has one server

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._head = 0  # bytes of the head that there are so far
        self._late: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self in self.waiting and self._head > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"a head of at most {HEAD_BYTES:,} bytes is taken")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        self._wait_no_more()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._head = 0
            self._wait(IDLE_SECONDS)

    def _wait(self, seconds: float) -> None:
        self._wait_no_more()
        if len(self.waiting) >= MAX_WAITING:
            oldest = next(iter(self.waiting))
            oldest._wait_no_more()
            oldest.transport.abort()
        self.waiting[self] = None
        self._late = self.loop.call_later(seconds, self.transport.abort)

    def _wait_no_more(self) -> None:
        self.waiting.pop(self, None)
        if self._late is not None:
            self._late.cancel()
            self._late = None


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Of what a slow client has not taken, little waits below the application, where nothing can be dropped; and a
    connection that the application is done with ends, also where the client takes nothing any more.
    """

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(UNSENT)
        # The kernel alone would keep some MiB, which is minutes of updates.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # a refusal is an answer, too: uvicorn logs that there was none

    def on_task_complete(self, task: Task[None]) -> None:
        super().on_task_complete(task)
        self.loop.call_later(FAREWELL_SECONDS, self.transport.abort)
