"""Messages between processes of the demo: msgpack over TCP, each behind its length.

Who reads checks what comes: a message that is not what it should be ends the connection.
"""

from __future__ import annotations

import socket
import struct
from typing import Final, Generic, TypeVar

import msgspec

_LENGTH: Final = struct.Struct(">I")
_TOTAL_RETRANS: Final = 100  # tcpi_total_retrans of struct tcp_info, linux/tcp.h
_MOST_BYTES: Final = 1 << 22  # of one message
_MOST_WAITING: Final = 1 << 20  # bytes that a reader may be behind

_Message = TypeVar("_Message")

encode: Final = msgspec.msgpack.Encoder().encode


class Link(Generic[_Message]):
    """One end of a connection. kind: of the messages that come. Raises OSError when the connection has ended."""

    def __init__(self, connection: socket.socket, kind: type[_Message]) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self._connection = connection
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._came = bytearray()
        self._waiting = bytearray()

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: object) -> bool:
        """Send it as soon as the reader takes it; False if the reader is too far behind to get it at all."""
        if len(self._waiting) > _MOST_WAITING:
            self.flush()
            return False
        content = encode(message)
        self._waiting += _LENGTH.pack(len(content)) + content
        self.flush()
        return True

    def flush(self) -> None:
        """Send what waits."""
        while self._waiting:
            try:
                del self._waiting[: self._connection.send(self._waiting)]
            except BlockingIOError:
                return

    def receive(self) -> list[_Message]:
        """What has come, perhaps nothing."""
        try:
            data = self._connection.recv(1 << 18)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionResetError("the other end has closed the connection")
        self._came += data
        return list(self._whole())

    def _whole(self) -> list[_Message]:
        found, at = [], 0
        while len(self._came) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._came, at)
            if length > _MOST_BYTES:
                raise ConnectionError(f"a message of {length:,} bytes: expected at most {_MOST_BYTES:,}")
            if len(self._came) - at - _LENGTH.size < length:
                break
            at += _LENGTH.size
            try:
                found.append(self._decode(memoryview(self._came)[at : at + length]))
            except msgspec.MsgspecError as error:
                raise ConnectionError(f"a message that is none: {error}") from error
            at += length
        del self._came[:at]
        return found

    def retransmitted(self) -> int:
        """Segments of TCP that were sent again, since the connection began."""
        information = self._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANS + 4)
        return int.from_bytes(information[_TOTAL_RETRANS:], "little")

    def close(self) -> None:
        self._connection.close()


def connect(port: int, kind: type[_Message]) -> Link[_Message]:
    """Raises OSError if nobody listens there."""
    return Link(socket.create_connection(("127.0.0.1", port), timeout=1.0), kind)


class Door(Generic[_Message]):
    """A port of 127.0.0.1 that may be opened and closed, and those who came in. kind: of the messages that come."""

    def __init__(self, kind: type[_Message]) -> None:
        self._kind = kind
        self._listener: socket.socket | None = None
        self.port = 0  # a free one, and the same ever after
        self.links: list[Link[_Message]] = []

    def open(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]

    def readers(self) -> list[int]:
        """Descriptors that are readable when somebody comes in or says something."""
        listener = [self._listener.fileno()] if self._listener is not None else []
        return listener + [link.fileno() for link in self.links]

    def newcomers(self) -> list[Link[_Message]]:
        """Who waits to be let in."""
        came: list[Link[_Message]] = []
        while self._listener is not None:
            try:
                came.append(Link(self._listener.accept()[0], self._kind))
            except OSError:
                break
        return came

    def let_in(self, link: Link[_Message]) -> None:
        """From now on it is sent what everybody is."""
        self.links.append(link)

    def receive(self) -> list[tuple[Link[_Message], _Message]]:
        """What those inside say; who has gone, or says what cannot be, is let out."""
        found: list[tuple[Link[_Message], _Message]] = []
        for link in [*self.links]:
            try:
                found += [(link, message) for message in link.receive()]
            except OSError:
                self.let_out(link)
        return found

    def send(self, message: object) -> None:
        """To everybody inside."""
        for link in [*self.links]:
            self.send_to(link, message)

    def send_to(self, link: Link[_Message], message: object) -> None:
        try:
            link.send(message)
        except OSError:
            self.let_out(link)

    def flush(self) -> None:
        for link in [*self.links]:
            try:
                link.flush()
            except OSError:
                self.let_out(link)

    def let_out(self, link: Link[_Message]) -> None:
        link.close()
        if link in self.links:
            self.links.remove(link)

    def close(self) -> None:
        """Nobody is inside any more, and nobody comes in."""
        for link in [*self.links]:
            self.let_out(link)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
