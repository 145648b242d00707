"""What a producer needs around its ring: options, segments opened anew, the figures of its accounting, the exit."""

import atexit
import logging
import threading
import weakref
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from . import config, layout
from ._clock import clock_kind
from .errors import SegmentError
from .liveness import fork_lock
from .recordings import prune
from .schema import Schema
from .segment import Segment, check_name, create, usable
from .segment_header import check_capacity

DEFAULT_CAPACITY = 65536
FURTHER_CAPACITY = 8192  # of the rings of forked children: Docker's /dev/shm has 64 MiB

logger = logging.getLogger("shmtelemetry")
_warned: set[str] = set()


@dataclass(slots=True)
class Setup:
    """How the segments of one producer are made; the same for the first and for every one opened anew."""

    namespace: str
    name: str
    schema: Schema
    capacity: int = DEFAULT_CAPACITY
    policy: str = "drop_newest"
    mode: int = 0o600
    group: int | None = None
    flags: int = 0
    start_position: int = 0
    catalogue: bytearray = field(default_factory=bytearray)  # all definitions so far, with empty cells
    family: bytes | None = None  # uuid of the first of several threads' rings, which the others name
    _enabled: bool | None = None

    def __post_init__(self) -> None:
        check_name("namespace", self.namespace)
        check_name("producer", self.name)
        check_capacity(self.capacity)

    def enabled(self) -> bool:
        """Whether rings can and shall be opened; if not, the producer does nothing, after one warning."""
        if self._enabled is None:
            self._enabled = not config.disabled() and usable()
            if not self._enabled:
                warn_once(
                    "disabled", "telemetry does nothing: SHMTEL_DISABLED is set, or there is no tmpfs on /dev/shm"
                )
        return self._enabled

    def open(self, *, further: bool = False) -> Segment:
        """A new segment with every definition so far; a smaller one for a further process."""
        if self.policy == "overwrite_oldest":
            prune(self.namespace, self.name)  # of producers that were killed, and there may be no reader
        return create(
            self.namespace,
            self.name,
            self.schema,
            capacity=min(self.capacity, FURTHER_CAPACITY) if further else self.capacity,
            policy=self.policy,
            clock=clock_kind(),
            flags=self.flags,
            catalogue=bytes(self.catalogue),
            mode=self.mode,
            group=self.group,
            start_position=self.start_position,
            catalogue_of=self.family,
        )

    def try_open(self, *, further: bool) -> Segment | None:
        """The same; None, with one warning, where there is no room."""
        try:
            return self.open(further=further)
        except (SegmentError, OSError) as error:
            warn_once("no_ring", f"producer {self.name}: records are lost, no ring can be opened: {error}")
            return None


def check_options(policy: str, timeout: float | None) -> None:
    """Raises ValueError for what a Producer does not take."""
    if policy not in layout.POLICIES:
        raise ValueError(f"policy {policy!r}: expected one of {', '.join(layout.POLICIES)}")
    if timeout is not None and (policy != "block" or not timeout >= 0):
        raise ValueError(f"timeout {timeout!r}: expected seconds >= 0, and policy='block'")


def warn_once(topic: str, message: str) -> None:
    """A line in the log the first time; emit must neither raise nor flood."""
    if topic not in _warned:
        _warned.add(topic)
        logger.warning(message)


class _Closable(Protocol):
    def close(self) -> None: ...


_open_producers: "weakref.WeakSet[_Closable]" = weakref.WeakSet()
_of_thread = threading.local()


def close_at_exit(producer: _Closable) -> None:
    """Close it when the interpreter exits, unless it has been."""
    with fork_lock():
        _register_exit()
        _open_producers.add(producer)


@cache
def _register_exit() -> None:
    atexit.register(_close_all)


def _close_all() -> None:
    for producer in list(_open_producers):
        producer.close()


class _Leaving(Protocol):
    def leave(self, thread: int, /) -> None: ...


class _ThreadEnd:
    """A variable of one thread: it is deleted when the thread ends."""

    def __init__(self, thread: int) -> None:
        self.thread, self.producers = thread, weakref.WeakSet[_Leaving]()

    def __del__(self) -> None:
        for producer in list(self.producers):
            producer.leave(self.thread)


def leave_at_thread_end(producer: _Leaving, thread: int) -> None:
    """Tell the producer when this very thread has ended. thread: how the producer knows it.

    The main thread ends with the interpreter, at whose exit producers are closed anyway.
    """
    if threading.current_thread() is threading.main_thread():
        return
    if not hasattr(_of_thread, "end"):
        _of_thread.end = _ThreadEnd(thread)
    _of_thread.end.producers.add(producer)
