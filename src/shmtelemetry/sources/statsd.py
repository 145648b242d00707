"""Datagrams of StatsD over UDP and a Unix socket into a ring."""

import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any, Final

from ..telemetry import Telemetry
from .intake import Refused
from .sockets import check_path
from .statsd_metrics import Metrics

LARGEST: Final = 65_536  # bytes; no datagram of UDP is larger
WAITING: Final = 4 << 20  # bytes of datagrams that may wait; the kernel may allow less (net.core.rmem_max)
TURN: Final = 1000  # datagrams between two looks at signals
LOOK: Final = 1.0  # seconds between two looks at what the kernel dropped
LAST: Final = 5.0  # seconds at most that the end goes on taking what others go on sending


class StatsdSource:
    """Sockets whose datagrams are recorded; a context manager.

    udp: host and port, port 0 takes a free one; None for none. unix: the path of a socket, None for none. flush: the
    interval of sets, in seconds. Exported: ingest_lost_datagrams_total{source}, those of UDP that came too fast. Raises
    ValueError for what cannot be, and OSError for an address that is taken.
    """

    def __init__(self, telemetry: Telemetry, udp: tuple[str, int] | None, unix: str | None, flush: float) -> None:
        self._metrics, self._flush = Metrics(telemetry), flush
        self._lost = telemetry.counter(
            "ingest_lost_datagrams_total", "Datagrams that the kernel had no room for.", ("source",)
        ).labels("statsd")
        self.lost = 0
        self._path = os.path.abspath(unix) if unix is not None else None
        self._udp = _udp_socket(udp) if udp is not None else None
        try:
            self._unix = _unix_socket(self._path) if self._path is not None else None
        except BaseException:
            if self._udp is not None:
                self._udp.close()
            raise
        self._sockets = [each for each in (self._udp, self._unix) if each is not None]

    @property
    def addresses(self) -> list[str]:
        """Where clients send to."""
        found = []
        if self._udp is not None:
            host, port = self._udp.getsockname()[:2]
            found.append(f"udp://[{host}]:{port}" if ":" in host else f"udp://{host}:{port}")
        if self._path is not None:
            found.append(f"unix://{self._path}")
        return found

    def run(self, signals: int) -> None:
        """Take datagrams until SIGTERM or SIGINT come as bytes of a descriptor."""
        by_fd = {each.fileno(): each for each in self._sockets}
        waiting = select.poll()
        for fd in (signals, *by_fd):
            waiting.register(fd, select.POLLIN)
        looked = flushed = time.monotonic()
        while True:
            for fd, _ in waiting.poll(min(LOOK, self._flush) * 1000):
                if fd in by_fd:
                    self._turn(by_fd[fd])
                elif os.read(signals, 1)[0] != signal.SIGHUP:
                    self._end()
                    return
            now = time.monotonic()
            if now >= looked + LOOK:
                looked = now
                self._look()
            if now >= flushed + self._flush:
                flushed = now
                self._metrics.flush()

    def summary(self) -> dict[str, Any]:
        """What `--json` says at the end."""
        return self._metrics.intake.summary() | {"ignored_tags": self._metrics.ignored, "lost_datagrams": self.lost}

    def close(self) -> None:
        """Nothing is left at the path."""
        if self._path is not None:
            Path(self._path).unlink(missing_ok=True)  # before somebody else can have it
        for each in self._sockets:
            each.close()

    def __enter__(self) -> "StatsdSource":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _turn(self, source: socket.socket) -> bool:
        """Take datagrams that are there, at most TURN; returns whether there may be more."""
        receive, taken = source.recv, 0
        try:
            for _ in range(TURN):
                taken += self._take(receive(LARGEST))
        except BlockingIOError:
            return False
        finally:
            if taken:
                self._metrics.intake.take(taken)
        return True

    def _take(self, datagram: bytes) -> int:
        """How many of its lines were taken."""
        taken, take = 0, self._metrics.take
        for line in datagram.split(b"\n"):
            if line:
                try:
                    take(line.decode())
                    taken += 1
                except Refused as refused:
                    self._metrics.intake.reject(str(refused))
                except UnicodeDecodeError:
                    self._metrics.intake.reject("encoding")
        return taken

    def _end(self) -> None:
        """Take what was sent before the end, and show sets."""
        deadline = time.monotonic() + LAST
        there_is_more = True
        while there_is_more and time.monotonic() < deadline:
            there_is_more = False
            for each in self._sockets:
                there_is_more |= self._turn(each)
        self._look()
        self._metrics.flush()

    def _look(self) -> None:
        if self._udp is None:
            return
        lost = _dropped(self._udp)
        if lost > self.lost:
            self._lost.emit(lost - self.lost)
            self.lost = lost


def _udp_socket(address: tuple[str, int]) -> socket.socket:
    family, kind, _, _, where = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
    made = socket.socket(family, kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING)
        made.setblocking(False)
        made.bind(where)
    except OSError as error:
        made.close()
        raise OSError(f"udp {address[0]}:{address[1]}: {error.strerror}; take another address") from error
    return made


def _unix_socket(path: str) -> socket.socket:
    check_path(path, socket.SOCK_DGRAM)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        Path(path).unlink(missing_ok=True)
        made.bind(path)
    except OSError as error:
        made.close()
        raise ValueError(f"unix {path!r}: {error.strerror or error}; expected a path for a socket") from error
    return made


def _dropped(bound: socket.socket) -> int:
    """Datagrams that the kernel had no room for; https://docs.kernel.org/networking/proc_net_tcp.html has the table."""
    inode = str(os.fstat(bound.fileno()).st_ino)
    table = "/proc/net/udp6" if bound.family == socket.AF_INET6 else "/proc/net/udp"
    with open(table) as rows:
        for row in rows:
            fields = row.split()
            if len(fields) > 12 and fields[9] == inode:
                return int(fields[12])
    return 0
