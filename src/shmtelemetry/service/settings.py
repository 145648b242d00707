"""What a service is told; where each setting comes from is the command line's business."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ..listen import UNPROTECTED, Protection
from ..logs import Log
from .database import state_folder
from .events.store import KEEP

SHORTEST_INTERVAL: Final = 0.001  # seconds
LONGEST_INTERVAL: Final = 60.0
MAX_CONNECTIONS: Final = 65_536
MAX_QUEUE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """One service's, the same in each of its workers.

    namespace: whose figures are shown. attached: further ones, which are only looked at. interval: seconds between two
    updates, 0.001 to 60; what is asked in between sees the same figures. protection: who may ask.
    cors_origins: of pages elsewhere that may ask, such as http://localhost:3000. ws_max_connections: of all workers
    together. ws_heartbeat_interval: seconds between two signs of life. ws_message_queue_size: updates that may wait for
    one client before the oldest is dropped. state_dir: the folder of history, alerts and log. rules: file of alert
    rules, None for those of the package. keep_events: seconds, after which they go. shown: (include, exclude,
    const_labels) of `/metrics`, as Shown takes them. log_level, log_format: of the log on stderr. reader: what Reader
    takes beside the namespace, where each worker stands by to read; None where another process reads. began: when the
    service did, in seconds since the epoch.

    Raises ValueError for what cannot be.
    """

    namespace: str = "default"
    attached: tuple[str, ...] = ()
    interval: float = 0.1
    protection: Protection = UNPROTECTED
    cors_origins: tuple[str, ...] = ()
    ws_max_connections: int = 1000
    ws_heartbeat_interval: float = 15.0
    ws_message_queue_size: int = 1000
    state_dir: Path = field(default_factory=state_folder)
    rules: Path | None = None
    keep_events: float = KEEP
    shown: tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...]] = ((), (), ())
    log_level: str = "info"
    log_format: str = "json"
    reader: Mapping[str, Any] | None = None
    began: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        if not SHORTEST_INTERVAL <= self.interval <= LONGEST_INTERVAL:
            raise ValueError(f"interval {self.interval!r}: expected 0.001 to 60 seconds")
        if not 0 < self.ws_heartbeat_interval < math.inf:
            raise ValueError(f"ws_heartbeat_interval {self.ws_heartbeat_interval!r}: expected more than 0 seconds")
        if not 0 < self.keep_events <= math.inf:
            raise ValueError(f"keep_events {self.keep_events!r}: expected more than 0 seconds")
        for name, most in (("ws_max_connections", MAX_CONNECTIONS), ("ws_message_queue_size", MAX_QUEUE)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} {getattr(self, name)!r}: expected 1 to {most:,}")
        for origin in self.cors_origins:
            if not _is_origin(origin):
                raise ValueError(
                    f"CORS origin {origin!r}: expected scheme://host[:port], such as http://localhost:3000"
                )

    @property
    def log(self) -> Log:
        return Log(self.log_level, self.log_format, "shmtel-serve", self.namespace)

    def file(self, suffix: str) -> Path:
        """A file of the namespace in the state folder."""
        return self.state_dir / f"{self.namespace}{suffix}"


def _is_origin(text: str) -> bool:
    """RFC 6454, section 6.2. `*` is none: a page of anybody's must not read the figures with a visitor's cookie."""
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return (
        named and parts.scheme in ("http", "https") and text == f"{parts.scheme}://{parts.netloc}" and "@" not in text
    )
