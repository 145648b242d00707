"""The namespace of a process tree: found anew by every process that needs it, with nothing inherited.

A server that forks its workers may import the application in the workers only, so they have no variable of ours in
common. They have their root: the uppermost ancestor from which only forks lead here, and what multiprocessing starts.
Linux shows in /proc/PID/stat where the program's code and stack begin, which a fork keeps and an exec changes (proc(5),
fields 26 to 28 and 48; the layout of every exec is random).
"""

import contextlib
import os
import re
from collections import defaultdict
from dataclasses import dataclass

from ...files import open_file
from ...liveness import Process, is_locked
from ...segment import DIRECTORY

_TREE = re.compile(r"tree-(\d+)-(\d+)-(\d+)")
_IMAGE = (25, 26, 27, 47)  # start_code, end_code, start_stack, arg_start
_STARTED = (
    b"--multiprocessing-fork",
    b"multiprocessing.forkserver",
)  # in the command lines of multiprocessing's children


@dataclass(frozen=True, slots=True)
class _Seen:
    """What /proc tells of a process."""

    pid: int
    parent: int
    start: int
    image: tuple[bytes, ...] | None  # None where it belongs to somebody else, who hides it
    command: bytes


def tree_namespace() -> str:
    """The name of this process's tree: the same in all its processes, and in no other tree of this machine."""
    root = _look(os.getpid())
    while root.parent and (parent := _try_look(root.parent)) and _descends(root, parent):
        root = parent
    return f"tree-{Process.current().pid_namespace}-{root.pid}-{root.start}"


def _descends(child: _Seen, parent: _Seen) -> bool:
    """Whether the child was forked by the parent, or started by its multiprocessing, and does not just run under it."""
    if any(word in child.command for word in _STARTED):
        return True
    if child.image is None or parent.image is None:  # a server that gave up its rights: its command line stays
        return _title(child.command) == _title(parent.command)
    return child.image == parent.image


def _title(command: bytes) -> bytes:
    """A command line; of one that was set as a title, such as `gunicorn: worker [app]`, the program's name."""
    name, colon, _ = command.partition(b": ")
    return name if colon else command


def _try_look(pid: int) -> _Seen | None:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return _look(pid)
    return None


def _look(pid: int) -> _Seen:
    with open(f"/proc/{pid}/stat", "rb") as file:
        stat = file.read()
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        command = file.read()
    fields = [b"", b"", *stat.rpartition(b")")[2].split()]  # from the state on, which is field 3
    image = tuple(fields[at] for at in _IMAGE)
    hidden = fields[27] == b"0"
    return _Seen(pid, int(fields[3]), int(fields[21]), None if hidden else image, command)


def sweep() -> None:
    """Remove what trees left behind of which every process was killed."""
    found = defaultdict(list)
    for name in os.listdir(DIRECTORY):
        parts = name.split(".")
        if len(parts) > 2 and parts[0] == "shmtel" and _TREE.fullmatch(parts[1]):
            found[parts[1]].append(os.path.join(DIRECTORY, name))
    for namespace, paths in found.items():
        if not root_lives(namespace) and not any(_is_needed(path) for path in paths):
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)


def _root(namespace: str) -> Process:
    pid_namespace, pid, start = map(int, namespace.removeprefix("tree-").split("-"))
    return Process(Process.current().boot_id, pid_namespace, pid, start)


def is_root(namespace: str) -> bool:
    """Whether this process is the root of the tree."""
    return _root(namespace) == Process.current()


def root_lives(namespace: str) -> bool:
    """True also where it cannot be seen."""
    root = _root(namespace)
    return root.pid_namespace != Process.current().pid_namespace or root.exists()


def _is_needed(path: str) -> bool:
    """Whether a living process holds a lock in the file, or it is another user's."""
    try:
        fd = open_file(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return os.fstat(fd).st_uid != os.geteuid() or is_locked(fd, 0, 0)
    finally:
        os.close(fd)
