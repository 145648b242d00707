"""How bots without any library of metrics report what they traded: strings over ZeroMQ, and StatsD."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import zmq

from shmtelemetry.demo.bots import BOT_OF, BOTS
from shmtelemetry.demo.messages import Execution
from shmtelemetry.demo.order_flow import INSTRUMENTS, TICK_USD

ZMQ_NAME: Final = "metrics"  # of the sockets in the demo's folder
STATSD_NAME: Final = "statsd"
_BY_ZMQ: Final = len(BOTS) // 2  # so many bots report by ZeroMQ, the others by StatsD


class Reporting:
    """folder: where both sockets are. Nobody waits for who does not take what is sent."""

    def __init__(self, folder: Path) -> None:
        self._zmq: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._zmq.setsockopt(zmq.LINGER, 1000)
        self._zmq.connect(f"ipc://{folder / ZMQ_NAME}")
        self._statsd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._statsd.setblocking(False)
        self._path = str(folder / STATSD_NAME)

    def tell(self, traded: Iterable[tuple[Execution, float]]) -> None:
        """Executions, and ms from when their order left."""
        for execution, milliseconds in traded:
            symbol = INSTRUMENTS[execution.instrument].symbol
            if BOT_OF[execution.instrument].number < _BY_ZMQ:
                with suppress(zmq.Again):
                    self._zmq.send_string(f"order_placed:{symbol}:{execution.price * TICK_USD:.2f}", zmq.NOBLOCK)
                    self._zmq.send_string(f"latency:{symbol}:{milliseconds:.4f}", zmq.NOBLOCK)
            else:
                with suppress(OSError):
                    self._statsd.sendto(f"orders_total:1|c|#symbol:{symbol}".encode(), self._path)

    def close(self) -> None:
        self._zmq.close()
        self._statsd.close()
