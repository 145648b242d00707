"""Connections of a web server: bounded in number and in time, each answered in a thread of its own."""

import contextlib
import logging
import socket
import socketserver
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from ..listen import Access, Address

MAX_CONNECTIONS: Final = 64
HEAD_SECONDS: Final = 10.0  # for a TLS handshake, and from a request's first byte to the end of its head
IDLE_SECONDS: Final = 30.0  # until a connection that says nothing after an answer is closed
ANSWER_SECONDS: Final = 60.0  # to make an answer and to take all of it
END_SECONDS: Final = 5.0  # that an answer under way gets to end when the server stops
LEAVE_SECONDS: Final = 1.0  # for a thread whose connection was ended to notice

logger = logging.getLogger("shmtelemetry")


@dataclass(eq=False, slots=True)
class Connection:
    """One client's, with the moment until which it may last as it is, and whether it is being answered."""

    client: socket.socket
    deadline: float
    answered: bool = False

    def wait(self, seconds: float) -> None:
        """The client's turn, for so long."""
        self.answered, self.deadline = False, time.monotonic() + seconds

    def answer(self) -> None:
        """Our turn, and the client's to take what is answered."""
        self.answered, self.deadline = True, time.monotonic() + ANSWER_SECONDS

    def end(self, how: int = socket.SHUT_RDWR) -> None:
        """Wake its thread, which closes it. Of an SSLSocket the plain one is ended: its own method is no thread's but
        that of the reader."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.client, how)


class ConnectionServer(socketserver.TCPServer):
    """Listens, and gives every connection to a handler in a thread, after its TLS handshake.

    Where there are MAX_CONNECTIONS, a new one takes the place of the one that has let us wait longest: those who say
    their request slowly, however many they are, keep nobody out who says it at once. Only if all are being answered is
    the new one turned away. A connection beyond its deadline is ended.
    """

    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, address: Address, access: Access, handler: type[socketserver.BaseRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.access = access
        self._connections: dict[threading.Thread, Connection] = {}
        self._changed = threading.Condition()
        super().__init__((address.host, address.port), handler)
        self.bound = Address(address.host, self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, client_address = super().get_request()
        if self.access.tls is None:
            return plain, client_address
        try:  # the handshake waits for the client, and so has to wait for its own thread
            return self.access.tls.wrap_socket(plain, True, do_handshake_on_connect=False), client_address
        except BaseException:
            plain.close()
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        connection = Connection(request, time.monotonic() + HEAD_SECONDS)
        thread = threading.Thread(
            target=self._serve, args=(connection, client_address), name="shmtel-http", daemon=True
        )
        with self._changed:
            room = self._make_room()
            if room:
                self._connections[thread] = connection
        if room:
            thread.start()
        else:
            self.shutdown_request(request)

    def _make_room(self) -> bool:
        if len(self._connections) < MAX_CONNECTIONS:
            return True
        waiting = [one for one in self._connections.values() if not one.answered]
        if not waiting:
            return False
        waiting[0].end()  # in order of their coming
        return self._changed.wait_for(lambda: len(self._connections) < MAX_CONNECTIONS, LEAVE_SECONDS)

    def _serve(self, connection: Connection, client_address: Any) -> None:
        try:
            if isinstance(connection.client, ssl.SSLSocket):
                connection.client.do_handshake()
            self.finish_request(connection, client_address)  # type: ignore[arg-type]  # the handler takes its socket
        except Exception as error:
            if not isinstance(error, OSError):  # a client that went away is nothing to tell anybody
                logger.error("a web request failed: %r", error, exc_info=error)
        finally:
            self.shutdown_request(connection.client)
            with self._changed:
                del self._connections[threading.current_thread()]
                self._changed.notify_all()

    def service_actions(self) -> None:
        """Called by serve_forever, after every connection and every POLL_SECONDS."""
        now = time.monotonic()
        with self._changed:
            for connection in self._connections.values():
                if now > connection.deadline:
                    connection.end()

    def end_connections(self) -> None:
        # Idle ones end at once, because they read the end of their stream; busy ones after their response.
        deadline = time.monotonic() + END_SECONDS
        for how, until in ((socket.SHUT_RD, deadline), (socket.SHUT_RDWR, deadline + 1)):
            with self._changed:
                left = dict(self._connections)
            for connection in left.values():
                connection.end(how)
            for thread in left:
                thread.join(max(0.0, until - time.monotonic()))

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.error("a web connection failed: %r", sys.exc_info()[1])
