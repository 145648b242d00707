"""Lines a second that one `shmtel ingest statsd` takes from one client of its Unix socket, which waits for it.

python -m benchmarks.sources.statsd [SECONDS]
"""

from __future__ import annotations

import socket
import time
from typing import Any

from benchmarks.sources.running import report

TAGS = "|#env:prod,route:/orders"
KINDS = {  # lines of a datagram
    "one counter": ["orders:1|c"],
    "one timer with tags": ["checkout:12.5|ms" + TAGS],
    "20 counters": [f"orders.{number}:1|c" for number in range(20)],
    "20 timers with tags": [f"checkout.{number}:12.5|ms{TAGS}" for number in range(20)],
}


def client(address: str, kind: str, seconds: float, answer: Any, taken: Any) -> None:
    """Waits where the socket is full."""
    lines = KINDS[kind]
    datagram = "\n".join(lines).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.connect(address.removeprefix("unix://"))
        sent, begin = 0, time.monotonic()
        while time.monotonic() < begin + seconds:
            for _ in range(100):
                made.send(datagram)
            sent += 100 * len(lines)
        answer.put((sent, begin))
        taken.wait()


if __name__ == "__main__":
    report("statsd", ["--unix", "statsd.sock"], client, list(KINDS))
