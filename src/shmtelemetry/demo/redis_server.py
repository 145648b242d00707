"""The demo's own Redis, where redis-server is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Self


class RedisServer:
    """Keeps everything in memory, and listens at a Unix socket alone, from `with` to its end. path: of the socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = shutil.which("redis-server")
        # It ends with the demo, however that ends: https://man7.org/linux/man-pages/man1/setpriv.1.html
        self._command = ["setpriv", "--pdeathsig", "KILL", found] if found and shutil.which("setpriv") else None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Nothing where there is none."""
        if self._command is None or self._process is not None:
            return
        options = ["--port", "0", "--unixsocket", str(self._path), "--save", "", "--dir", str(self._path.parent)]
        self._process = subprocess.Popen(
            [*self._command, *options], stdout=subprocess.DEVNULL, start_new_session=True
        )  # in a session of its own, as Ctrl-C is not for it

    def stop(self) -> None:
        """At once, as a kill is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
