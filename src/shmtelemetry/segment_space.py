"""Room for a segment: what tmpfs and the cgroup have left, taken before it is written to."""

import os

from .errors import SegmentSpaceError


def reserve_space(fd: int, size: int, have: int, folder: str) -> None:
    """Give a file in `folder`, of `have` bytes, `size` for certain: writing to them can no longer fail.

    Raises SegmentSpaceError.
    """
    wanted = size - have
    room = cgroup_room()
    if room is not None and wanted > room:
        raise SegmentSpaceError(wanted, room, "the cgroup's memory.max")
    space = os.fstatvfs(fd)
    free = space.f_bavail * space.f_frsize
    if space.f_blocks and wanted > free:  # a tmpfs without a limit has no blocks
        raise SegmentSpaceError(wanted, free, folder)
    try:
        os.posix_fallocate(fd, have, wanted)
    except OSError as error:
        raise SegmentSpaceError(wanted, free, f"{folder} ({error.strerror})") from error


def cgroup_room() -> int | None:
    """Bytes below this process's memory.max (cgroup v2), page cache counted as free; None where nothing limits it."""
    try:
        with open("/proc/self/cgroup") as file:
            path = next(line for line in file if line.startswith("0::"))[3:].strip()
        folder = "/sys/fs/cgroup" + path.rstrip("/")
        with open(f"{folder}/memory.max") as file:
            limit = file.read().strip()
        if limit == "max":
            return None
        with open(f"{folder}/memory.current") as file:
            used = int(file.read())
        return max(0, int(limit) - max(0, used - _page_cache(folder)))
    except (OSError, StopIteration, ValueError):
        return None


def _page_cache(folder: str) -> int:
    """Bytes of a cgroup's page cache, which the kernel gives up before it refuses memory."""
    try:
        with open(f"{folder}/memory.stat") as file:
            figures = dict(line.split() for line in file)
    except OSError:
        return 0
    return int(figures.get("active_file", 0)) + int(figures.get("inactive_file", 0))
