"""The shared mapping: bounds, buffers, growth, the end."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from shmtelemetry._mapping import Mapping, is_tmpfs


@pytest.fixture
def fd() -> Iterator[int]:
    descriptor = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.posix_fallocate(descriptor, 0, 8192)
    yield descriptor
    os.close(descriptor)


def test_two_mappings_of_one_file_see_each_other(fd: int) -> None:
    one, other = Mapping(fd, 8192), Mapping(fd, 8192, writable=False)
    one.store(8, 2**64 - 1)
    assert other.load(8) == 2**64 - 1
    memoryview(one)[4096:4099] = b"abc"
    assert bytes(memoryview(other)[4096:4099]) == b"abc"


@pytest.mark.parametrize("offset", [1, 4, 8185, 8192, 2**62])
def test_a_place_outside_or_unaligned_is_refused(fd: int, offset: int) -> None:
    mapping = Mapping(fd, 8192)
    with pytest.raises(ValueError, match="aligned u64"):
        mapping.load(offset)
    with pytest.raises(ValueError, match="aligned u64"):
        mapping.store(offset, 0)


def test_a_read_only_mapping_gives_read_only_buffers(fd: int) -> None:
    mapping = Mapping(fd, 8192, writable=False)
    assert memoryview(mapping).readonly
    with pytest.raises(ValueError, match="not a writable"):
        mapping.store(0, 1)


def test_it_grows_into_the_reserved_space_and_keeps_its_buffers(fd: int) -> None:
    mapping = Mapping(fd, 8192, 4096)
    view = memoryview(mapping)
    os.posix_fallocate(fd, 0, 12288)
    mapping.grow(12288)
    mapping.store(12280, 7)
    assert (len(view), mapping.size, mapping.load(12280)) == (8192, 12288, 7)
    with pytest.raises(ValueError, match="exceed"):
        mapping.grow(12289)


def test_a_buffer_in_use_keeps_it_open(fd: int) -> None:
    mapping = Mapping(fd, 8192)
    view = memoryview(mapping)
    with pytest.raises(BufferError):
        mapping.close()
    view.release()
    mapping.close()
    mapping.close()
    for use in (lambda: mapping.load(0), lambda: memoryview(mapping), mapping.touch):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_what_cannot_be_mapped_is_an_os_error(fd: int) -> None:
    with pytest.raises(OSError, match="memory"):
        Mapping(fd, 2**62)
    with pytest.raises(OSError, match="Bad file"):
        Mapping(-1, 8192)
    with pytest.raises(ValueError, match="empty"):
        Mapping(fd, 0)


def test_shared_memory_is_a_tmpfs_and_proc_is_not(fd: int) -> None:
    assert is_tmpfs(fd)
    with open("/proc/self/stat") as file:
        assert not is_tmpfs(file.fileno())
