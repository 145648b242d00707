"""The exceptions of shmtelemetry. Everything that is wrong with an argument is a ValueError or a TypeError."""

LONGEST_LINE = 500


def one_line(error: object) -> str:
    """What an error says, for a log: what came from outside can neither end the line nor speak to a terminal."""
    said = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(error))
    return said if len(said) <= LONGEST_LINE else said[:LONGEST_LINE] + "..."


class ShmtelError(Exception):
    """Base of every exception defined here."""


class SegmentError(ShmtelError):
    """A segment is missing, unreadable, or not what its header says."""


class SegmentSpaceError(SegmentError):
    """There is no room for a segment in /dev/shm, or in the cgroup's memory limit."""

    def __init__(self, wanted: int, free: int, where: str) -> None:
        super().__init__(
            f"no room for a segment of {wanted:,} bytes: {free:,} bytes are free in {where}; "
            "use a smaller capacity, or make it larger (docker: --shm-size, kubernetes: emptyDir medium Memory)"
        )
        self.wanted, self.free, self.where = wanted, free, where

    def __reduce__(self) -> tuple[type, tuple[int, int, str]]:
        return type(self), (self.wanted, self.free, self.where)


class ReaderBusyError(ShmtelError):
    """Another reader holds the namespace, or another consumer holds the segment."""

    def __init__(self, what: str, pid: int) -> None:
        super().__init__(f"{what} is already read by process {pid}; stop that one first, or use another namespace")
        self.what, self.pid = what, pid

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (self.what, self.pid)


class StateError(ShmtelError):
    """The state of a namespace is missing or cannot be used."""
