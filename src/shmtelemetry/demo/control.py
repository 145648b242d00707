"""How somebody tells a running demo to let something go wrong: words over a socket that only its user is heard at."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from shmtelemetry.demo.causes import CAUSES, bring_about, cure
from shmtelemetry.errors import ShmtelError

CAUSE: Final = "cause"
CURE: Final = "cure"
_DONE: Final = "done"
_SECONDS: Final = 5.0  # for a word and its answer
_LONGEST: Final = 256  # bytes
_ADDRESS: Final = "\0shmtel-demo-{pid}"  # in the abstract namespace: gone with its process
_FOUND: Final = re.compile(r"@shmtel-demo-(\d+)$", re.MULTILINE)


class Control:
    """The demo's end. change: as Platform.change."""

    def __init__(self, change: Callable[[str, str, Any], object]) -> None:
        self._change = change
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(_ADDRESS.format(pid=os.getpid()))
        self._listener.listen()

    def fileno(self) -> int:
        return self._listener.fileno()

    def serve(self) -> None:
        """Do what one asks who has connected."""
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(_SECONDS)
            try:
                if _uid(connection) in (0, os.geteuid()):
                    connection.sendall(self._answer(connection.recv(_LONGEST).decode(errors="replace")).encode())
            except OSError:
                return  # it has gone

    def close(self) -> None:
        self._listener.close()

    def _answer(self, words: str) -> str:
        verb, _, name = words.partition(" ")
        if name not in CAUSES or verb not in (CAUSE, CURE):
            return f"no cause {name!r}: expected one of {', '.join(CAUSES)}"
        (bring_about if verb == CAUSE else cure)(name, self._change)
        return _DONE


def tell(verb: str, name: str, pid: int | None = None) -> None:
    """Tell a running demo to CAUSE something, or to CURE it. pid: of the demo; None for the only one.

    Raises ShmtelError where there is none, or it does not do so.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        try:
            connection.connect(_ADDRESS.format(pid=pid or _only_one()))
            connection.sendall(f"{verb} {name}".encode())
            answer = connection.recv(4096).decode(errors="replace")
        except OSError as error:
            raise ShmtelError(f"the demo does not answer: {error}") from error
    if answer != _DONE:
        raise ShmtelError(answer or "the demo of another user takes no orders from here")


def _only_one() -> int:
    found = sorted(map(int, set(_FOUND.findall(Path("/proc/net/unix").read_text()))))
    if len(found) != 1:
        which = f"several demos run ({', '.join(map(str, found))}): say which by --pid" if found else "no demo runs"
        raise ShmtelError(which)
    return found[0]


def _uid(connection: socket.socket) -> int:
    """Of who is at the other end (SO_PEERCRED, unix(7))."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
