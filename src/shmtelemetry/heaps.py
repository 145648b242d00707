"""The heaps of a process that answers many from many threads."""

import ctypes
from typing import Final

M_ARENA_MAX: Final = -8  # malloc.h of glibc


def share_heap() -> None:
    """Let all threads of this process have one heap.

    glibc gives threads up to eight for each core, and each grows to the size of the largest answer that a thread of it
    ever made: a reader that was asked for some minutes had 20 MiB of them (mallopt(3)). Other C libraries have none.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_ARENA_MAX, 1)
