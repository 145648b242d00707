"""Segments in /dev/shm: create, attach, validate, list, unlink.

A segment appears under its name complete and locked: it is made as an unnamed file and linked when its header is
published, so a producer that is killed while it creates one leaves nothing behind.
"""

import contextlib
import grp
import os
import re
import secrets
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from multiprocessing import shared_memory
from typing import Any

from . import layout
from ._mapping import Mapping, is_tmpfs, link_unnamed
from .errors import ReaderBusyError, SegmentError, SegmentSpaceError
from .files import open_file
from .liveness import Process, fork_lock, is_locked, lock
from .schema import Schema
from .segment_header import Header, read_header
from .segment_space import reserve_space

DIRECTORY = "/dev/shm"  # where glibc's shm_open, and so SharedMemory, looks
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def reader_file(namespace: str) -> str:
    """Name of the file that the reader of a namespace and of this user holds locked."""
    return f"shmtel.{namespace}.@reader.{os.geteuid()}"


def check_name(what: str, name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r}: expected 1 to 64 of A-Z a-z 0-9 _ -")
    return name


def check_group(group: str | int | None) -> int | None:
    """The group's number."""
    try:
        return grp.getgrnam(group).gr_gid if isinstance(group, str) else group
    except KeyError:
        raise ValueError(f"group {group!r}: there is none of that name") from None


def parse_name(name: str) -> tuple[str, str, str] | None:
    """(namespace, producer, token) of a producer's segment; None for any other file."""
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "shmtel" and all(_NAME.fullmatch(part) for part in parts[1:]):
        return parts[1], parts[2], parts[3]
    return None


def log_context(name: str) -> dict[str, str]:
    """What the log says beside a line about a segment."""
    parts = parse_name(name)
    return {"segment": name, "producer": parts[1]} if parts else {"segment": name}


def segment_names(namespace: str | None = None, producer: str | None = None) -> Iterator[str]:
    """Names of all producers' segments, of one namespace and one producer if given; in no order."""
    with contextlib.suppress(FileNotFoundError), os.scandir(DIRECTORY) as entries:
        for entry in entries:
            parts = parse_name(entry.name)
            if parts and namespace in (None, parts[0]) and producer in (None, parts[1]):
                yield entry.name


class Segment(shared_memory.SharedMemory):
    """A SharedMemory that is ours: never known to the resource tracker, never unlinked by anybody's exit.

    `buf`, `name` and `size` are SharedMemory's. It keeps no descriptor open, and a forked child does not inherit it.
    """

    def __init__(self, name: str, mapping: Mapping, header: Header, schema: Schema, inode: int, owner: int) -> None:
        self._name = "/" + name
        self._mmap = mapping
        self._buf = memoryview(mapping)
        self._size = mapping.size
        self.mapping, self.header, self.schema = mapping, header, schema
        self.inode, self.owner = inode, owner
        self.namespace, self.producer, self.token = name.split(".")[1:]

    def __reduce__(self) -> Any:
        raise TypeError("a segment belongs to its process: attach to it by its name instead")

    @property
    def linked(self) -> bool:
        """Whether the name in /dev/shm still stands for this segment."""
        try:
            return os.stat(os.path.join(DIRECTORY, self.name), follow_symlinks=False).st_ino == self.inode
        except FileNotFoundError:
            return False

    def alive(self) -> bool:
        """Whether its producer can still write: it holds the lock, or is certainly a living process."""
        if self.mapping.load(self.header.producer_offset + layout.CLOSED):
            return False
        try:
            fd = open_file(os.path.join(DIRECTORY, self.name), os.O_RDONLY)
        except OSError:
            return self.header.process.exists()
        try:
            if os.fstat(fd).st_ino == self.inode and is_locked(fd, layout.LOCK_PRODUCER):
                return True
        finally:
            os.close(fd)
        return self.header.process.exists()

    def catalogue(self, begin: int = 0) -> bytes:
        """A copy of the published catalogue from byte `begin` on."""
        length = self.mapping.load(self.header.producer_offset + layout.CATALOGUE_LENGTH)
        start = self.header.catalogue_offset
        if not begin <= length <= layout.MAX_CATALOGUE:
            raise SegmentError(
                f"{self.name}: a catalogue of {length:,} bytes: expected {begin:,} to {layout.MAX_CATALOGUE:,}"
            )
        if start + length > self.mapping.size:
            self._follow_growth(start + length)
        stored = bytes(memoryview(self.mapping)[start + begin : start + length])
        self.check_whole()
        return stored

    def check_whole(self) -> None:
        """Raises SegmentError if a part of the file was missing when it was read. Only where a guard is installed."""
        if self.mapping.cut:
            raise SegmentError(f"{self.name}: its file was cut short")

    def _follow_growth(self, wanted: int) -> None:
        size = os.stat(os.path.join(DIRECTORY, self.name), follow_symlinks=False).st_size if self.linked else 0
        if size < wanted:
            raise SegmentError(f"{self.name}: the catalogue ends at byte {wanted:,}, the file at {size:,}")
        self.mapping.grow(size)

    def reserve_catalogue(self, length: int) -> None:
        """Let so many further bytes fit into the catalogue. Raises SegmentSpaceError when the file cannot grow."""
        begin = self.mapping.load(self.header.producer_offset + layout.CATALOGUE_LENGTH)
        end = self.header.catalogue_offset + begin + length
        if end > self.mapping.size:
            self._grow(end)

    def append_catalogue(self, records: bytes) -> int:
        """Publish further catalogue records; returns the offset of the first in the catalogue.

        Raises SegmentSpaceError when the file cannot grow.
        """
        self.reserve_catalogue(len(records))
        length_at = self.header.producer_offset + layout.CATALOGUE_LENGTH
        begin = self.mapping.load(length_at)
        start = self.header.catalogue_offset + begin
        with memoryview(self.mapping) as buffer:
            buffer[start : start + len(records)] = records
        # SYNC POINT: catalogue. Whoever sees the length sees the records.
        self.mapping.store(length_at, begin + len(records))
        return begin

    def _grow(self, wanted: int) -> None:
        size = -(-wanted // layout.CATALOGUE_STEP) * layout.CATALOGUE_STEP
        if size > self.header.catalogue_offset + layout.MAX_CATALOGUE:
            raise SegmentSpaceError(
                size, layout.MAX_CATALOGUE, "the catalogue (label values with too many combinations?)"
            )
        fd = open_file(os.path.join(DIRECTORY, self.name), os.O_RDWR)
        try:
            if os.fstat(fd).st_ino != self.inode:
                raise SegmentError(f"{self.name} was replaced by another file")
            reserve_space(fd, size, self.mapping.size, DIRECTORY)
        finally:
            os.close(fd)
        self.mapping.grow(size)

    def close(self) -> None:
        """Unmap it, which releases its lock. The file stays."""
        if self._buf is not None:
            self._buf.release()
            self._buf = None  # type: ignore[assignment]  # as SharedMemory.close does
        if self._mmap is not None:
            self._mmap.close()
            self._mmap = None  # type: ignore[assignment]

    def unlink(self) -> None:
        """Remove the file, if the name still stands for this segment."""
        if self.linked:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(DIRECTORY, self.name))


def create(
    namespace: str,
    producer: str,
    schema: Schema,
    *,
    capacity: int,
    policy: str,
    clock: int,
    flags: int = 0,
    catalogue: bytes = b"",
    mode: int = 0o600,
    group: int | None = None,
    start_position: int = 0,
    catalogue_of: bytes | None = None,
) -> Segment:
    """A new segment with its space reserved, locked for this process, and its header published.

    The names, the capacity and the policy have been checked. Raises SegmentSpaceError where there is no room.
    """
    if mode != 0o600:  # else nobody reads it but this user and root, who may remove it
        _unlink_retired(namespace, producer)
    stored = schema.to_json()
    if len(stored) > layout.MAX_SCHEMA_LENGTH:
        raise ValueError(f"a schema of {len(stored):,} bytes: expected at most {layout.MAX_SCHEMA_LENGTH:,}")
    room = max(len(catalogue), layout.CATALOGUE_STEP if flags & layout.FLAG_INSTRUMENTS else 0)
    where = layout.areas(len(stored), schema.dtype.itemsize, capacity, room)
    me = Process.current()
    uuid = secrets.token_bytes(16)
    header = Header(
        magic=0,
        layout_version=layout.LAYOUT_VERSION,
        byte_order=layout.BYTE_ORDER,
        word_size=8,
        record_size=schema.dtype.itemsize,
        capacity=capacity,
        producer_offset=where.producer,
        reader_offset=where.reader,
        ring_offset=where.ring,
        catalogue_offset=where.catalogue,
        policy=layout.POLICIES[policy],
        clock=clock,
        uuid=uuid,
        catalogue_of=catalogue_of or uuid,
        boot_id=me.boot_id,
        pid_namespace=me.pid_namespace,
        pid=me.pid,
        pid_start=me.pid_start,
        uid=os.geteuid(),
        flags=flags,
        created_ns=time.time_ns(),
        start_position=start_position,
        schema_length=len(stored),
        reserved=0,
    )
    name = f"shmtel.{namespace}.{producer}.{secrets.token_hex(8)}"
    with fork_lock():
        fd = _unnamed_file()
        try:
            lock(fd, layout.LOCK_PRODUCER)
            reserve_space(fd, where.size, 0, DIRECTORY)
            mapping = Mapping(fd, where.size, layout.MAX_CATALOGUE)
            mapping.touch()
            with memoryview(mapping) as buffer:
                buffer[: layout.HEADER.size] = header.pack()
                buffer[layout.HEADER.size : layout.HEADER.size + len(stored)] = stored
                buffer[where.catalogue : where.catalogue + len(catalogue)] = catalogue
            for offset in (layout.CLAIMED_POSITION, layout.WRITE_POSITION):
                mapping.store(where.producer + offset, start_position)
            mapping.store(where.reader + layout.READ_POSITION, start_position)
            mapping.store(where.producer + layout.CATALOGUE_LENGTH, len(catalogue))
            mapping.store(0, layout.MAGIC)
            _set_access(fd, mode, group)
            link_unnamed(fd, DIRECTORY, name)
            return Segment(name, mapping, header, schema, os.fstat(fd).st_ino, os.geteuid())
        finally:
            os.close(fd)


def _unlink_retired(namespace: str, producer: str) -> None:
    """Remove what this producer has left and another user's reader has drained, who was not permitted to."""
    for name in segment_names(namespace, producer):
        with contextlib.suppress(SegmentError, OSError):
            segment = attach(name)
            try:
                role = segment.mapping.load(segment.header.reader_offset + layout.READER_ROLE)
                if role == layout.ROLE_RETIRED and not segment.alive():
                    segment.unlink()
            finally:
                segment.close()


def usable() -> bool:
    """Whether there is a tmpfs for segments."""
    try:
        directory = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return is_tmpfs(directory)
    finally:
        os.close(directory)


def _unnamed_file() -> int:
    try:
        return os.open(DIRECTORY, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SegmentError(f"cannot create a segment in {DIRECTORY}: {error.strerror}") from error


def _set_access(fd: int, mode: int, group: int | None) -> None:
    if group is not None:
        os.fchown(fd, -1, group)
    if mode != 0o600:
        os.fchmod(fd, mode)


def check_uids(allow_uids: Iterable[Any]) -> frozenset[int]:
    """Raises ValueError for what is no user's number."""
    for uid in (uids := tuple(allow_uids)):
        if not isinstance(uid, int) or isinstance(uid, bool) or not 0 <= uid < 2**32 - 1:
            raise ValueError(f"uid {uid!r}: expected the number of a user")
    return frozenset(uids)


def attach(name: str, role: int = layout.ROLE_NOBODY, allow_uids: Collection[int] = ()) -> Segment:
    """Map an existing segment whose every header field has been checked.

    role: ROLE_CONSUMER or ROLE_READER take the consumer's lock, or raise ReaderBusyError. allow_uids: users whose
    segments are accepted besides one's own. Raises SegmentError, in one line, for whatever is not a segment of this
    layout, or belongs to somebody else.
    """
    with fork_lock():
        return _attach(name, role, allow_uids)


def _attach(name: str, role: int, allow_uids: Collection[int]) -> Segment:
    if parse_name(name) is None:
        raise ValueError(f"segment name {name!r}: expected shmtel.<namespace>.<producer>.<token>")
    path = os.path.join(DIRECTORY, name)
    consume = role != layout.ROLE_NOBODY
    flags = os.O_RDWR if consume else os.O_RDONLY
    try:
        fd = open_file(path, flags)
    except OSError as error:
        raise SegmentError(f"{name}: cannot open it: {error.strerror}") from error
    try:
        status = os.fstat(fd)
        _check_file(name, status, allow_uids)
        header, schema = read_header(fd, name, status)
        if consume and not lock(fd, layout.LOCK_CONSUMER):
            raise ReaderBusyError(name, _reader_pid(fd, header))
        try:
            mapping = Mapping(fd, status.st_size, layout.MAX_CATALOGUE, consume)
        except OSError as error:
            raise SegmentError(f"{name}: cannot map it: {error.strerror}") from error
    finally:
        os.close(fd)
    mapping.guard()
    segment = Segment(name, mapping, header, schema, status.st_ino, status.st_uid)
    if consume:
        mapping.store(header.reader_offset + layout.READER_PID, os.getpid())
        mapping.store(header.reader_offset + layout.READER_ROLE, role)
    return segment


def _reader_pid(fd: int, header: Header) -> int:
    return int.from_bytes(os.pread(fd, 8, header.reader_offset + layout.READER_PID), "little")


def _check_file(name: str, status: os.stat_result, allow_uids: Collection[int]) -> None:
    """The kernel's word on whose it is; the header's counts for nothing."""
    if not stat.S_ISREG(status.st_mode):
        raise SegmentError(f"{name}: not a regular file")
    if status.st_uid != os.geteuid():
        if status.st_uid not in allow_uids:
            raise SegmentError(f"{name}: belongs to user {status.st_uid}, who is not allowed (--allow-uid)")
        if status.st_nlink > 1:
            raise SegmentError(f"{name}: another user's file with {status.st_nlink} names (hard links)")
