"""Signals as bytes of a pipe."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def caught_signals() -> Iterator[int]:
    """A file descriptor with the numbers of SIGTERM, SIGINT and SIGHUP as bytes; they do nothing else meanwhile.

    The kernel may give a signal to any thread, such as one of numpy's: only a descriptor wakes the main one.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    caught = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
    before = {number: signal.signal(number, lambda *_: None) for number in caught}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
