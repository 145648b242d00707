"""Clients that do so little themselves that many of them fit beside the service they measure.

They are programs of their own: `python -m benchmarks.service.clients listen|ask URL …` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections import defaultdict
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

GREETING = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MASKED_PONG = b"\x8a\x84\0\0\0\0"


class Updates(asyncio.Protocol):
    """A WebSocket that notes when each update came: RFC 6455, of what a server sends without extensions."""

    def __init__(self, url: str, notes: Notes) -> None:
        parts = urlsplit(url)
        self._greeting = GREETING.format(path=parts.path, host=parts.netloc).encode()
        self._notes, self._read, self._greeted = notes, bytearray(), False
        self._last = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self._read += data
        self._notes.bytes += len(data)
        if not self._greeted:
            head, end, rest = self._read.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                raise RuntimeError(head.decode())
            self._greeted, self._read = True, rest
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == 9:
                self._transport.write(MASKED_PONG + payload)
            elif opcode == 1 and payload.startswith(b'{"type":"metrics_update"'):
                self._note(payload, now)

    def _frame(self) -> tuple[int, bytes] | None:
        read = self._read
        if len(read) < 2:
            return None
        length, begin = read[1], 2
        if length >= 126:
            begin = 4 if length == 126 else 10
            if len(read) < begin:
                return None
            length = int.from_bytes(read[2:begin], "big")
        if len(read) < begin + length:
            return None
        payload = bytes(read[begin : begin + length])
        opcode = read[0] & 15
        del read[: begin + length]
        return opcode, payload

    def _note(self, payload: bytes, now: float) -> None:
        sequence, previous = _number(payload, b'"sequence":'), _number(payload, b'"previous":')
        if self._last and previous > self._last:
            self._notes.gaps += 1
        self._last = sequence
        self._notes.came(sequence, payload, now)

    def connection_lost(self, exc: Exception | None) -> None:
        self._notes.ended += 1


class Notes:
    """What all clients of a process have seen."""

    def __init__(self) -> None:
        self.bytes = self.gaps = self.ended = self.messages = 0
        self.first: dict[int, float] = {}
        self.last: dict[int, float] = defaultdict(float)
        self.latencies: list[float] = []
        self.size = 0

    def came(self, sequence: int, payload: bytes, now: float) -> None:
        self.messages += 1
        self.size = len(payload)
        self.first.setdefault(sequence, now)
        self.last[sequence] = max(self.last[sequence], now)
        begin = payload.index(b'"timestamp":"') + 13
        made = datetime.fromisoformat(payload[begin : payload.index(b'"', begin)].decode()).timestamp()
        self.latencies.append(now - made)

    def clear(self) -> None:
        self.bytes = self.gaps = self.messages = 0
        self.first.clear()
        self.last.clear()
        self.latencies.clear()


async def listen(url: str, count: int, stalled: int, seconds: float) -> dict[str, Any]:
    """`count` clients that listen, and as many `stalled` ones that read nothing after they are let in."""
    loop, notes, parts = asyncio.get_running_loop(), Notes(), urlsplit(url)
    held = [await _stalled(parts.hostname or "", parts.port or 0, parts.path) for _ in range(stalled)]
    for _ in range(count):
        await loop.create_connection(lambda: Updates(url, notes), parts.hostname, parts.port)
    await asyncio.sleep(2)  # until all are on the way
    notes.clear()
    begin = time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - begin
    fan_out = sorted(notes.last[sequence] - first for sequence, first in notes.first.items())[1:-1]
    latencies = sorted(notes.latencies)
    for connection in held:
        connection.close()
    return {
        "clients": count,
        "stalled": stalled,
        "messages_per_second": notes.messages / took,
        "updates": len(notes.first),
        "gaps": notes.gaps,
        "ended": notes.ended,
        "bytes_per_second_per_client": notes.bytes / took / count,
        "bytes_of_an_update": notes.size,
        "latency_ms": spread(latencies),
        "fan_out_ms": spread(fan_out),
    }


async def _stalled(host: str, port: int, path: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, port))
    connection.sendall(GREETING.format(path=path, host=f"{host}:{port}").encode())
    return connection


async def ask(url: str, connections: int, seconds: float) -> dict[str, Any]:
    """Ask one URL over and over, on so many connections at once."""
    until, latencies = time.perf_counter() + seconds, list[float]()
    await asyncio.gather(*(_ask(url, until, latencies) for _ in range(connections)))
    return {"requests_per_second": len(latencies) / seconds, "latency_ms": spread(sorted(latencies))}


async def _ask(url: str, until: float, latencies: list[float]) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    while (begin := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        await reader.readexactly(_number(head, b"content-length: "))
        latencies.append(time.perf_counter() - begin)
    writer.close()


def spread(values: list[float]) -> dict[str, float]:
    """Of sorted seconds, in milliseconds."""
    if not values:
        return {}
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: values[min(len(values) - 1, int(share * len(values)))] * 1e3 for name, share in shares.items()}
    return {**found, "max": values[-1] * 1e3}


def _number(text: bytes, after: bytes) -> int:
    begin = end = text.index(after) + len(after)
    while text[end : end + 1].isdigit():
        end += 1
    return int(text[begin:end])


def main() -> None:
    what, url, *numbers = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if what == "listen":
            told = runner.run(listen(url, int(numbers[0]), int(numbers[1]), float(numbers[2])))
        else:
            told = runner.run(ask(url, int(numbers[0]), float(numbers[1])))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
