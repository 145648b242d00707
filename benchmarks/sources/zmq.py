"""Messages a second that one `shmtel ingest zmq` takes from one bot.

python -m benchmarks.sources.zmq [SECONDS]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from benchmarks.sources.running import report

BATCH = 100
SYMBOLS = [f"SYM{number}" for number in range(BATCH)]
TEXTS = [f"latency:{symbol}:{number / 1e4}" for number, symbol in enumerate(SYMBOLS)]
OBJECTS = [{"type": "latency", "labels": {"symbol": name}, "value": 0.0125} for name in SYMBOLS]

json, msgpack = msgspec.json.encode, msgspec.msgpack.encode
KINDS: dict[str, Callable[[zmq.Socket[bytes]], object]] = {  # each sends BATCH messages
    "strings, one by one": lambda bot: [bot.send_string(text) for text in TEXTS],
    "strings, 100 frames": lambda bot: bot.send_multipart([text.encode() for text in TEXTS]),
    "strings, a JSON list of 100": lambda bot: bot.send(json(TEXTS)),
    "strings, a msgpack list of 100": lambda bot: bot.send(msgpack(TEXTS)),
    "objects, one by one, JSON": lambda bot: [bot.send(json(each)) for each in OBJECTS],
    "objects, one by one, msgpack": lambda bot: [bot.send(msgpack(each)) for each in OBJECTS],
    "objects, a JSON list of 100": lambda bot: bot.send(json(OBJECTS)),
    "objects, a msgpack list of 100": lambda bot: bot.send(msgpack(OBJECTS)),
}


def bot(address: str, kind: str, seconds: float, answer: Any, taken: Any) -> None:
    """Waits where a bot would drop."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(address)
        sent, begin = 0, time.monotonic()
        while time.monotonic() < begin + seconds:
            KINDS[kind](push)
            sent += BATCH
        answer.put((sent, begin))
        taken.wait()


if __name__ == "__main__":
    report("zmq", ["--bind", "ipc://bots"], bot, list(KINDS))
