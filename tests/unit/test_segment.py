"""Attaching to what lies in /dev/shm: a segment, or one clear SegmentError."""

from __future__ import annotations

import gc
import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, layout
from shmtelemetry.errors import ReaderBusyError, SegmentError, SegmentSpaceError
from shmtelemetry.segment import attach, parse_name, segment_names

DTYPE = np.dtype([("seq", "<u8"), ("value", "<f8")])
SHM = Path("/dev/shm")


@pytest.fixture
def image(namespace: str) -> Iterator[bytearray]:
    """The bytes of a good segment with three records."""
    with Producer("good", DTYPE, namespace, capacity=8) as ring:
        ring.emit_many(np.array([(1, 1), (2, 2), (3, 3)], DTYPE))
        yield bytearray((SHM / ring.segment.name).read_bytes())
        with Consumer("good", namespace) as consumer:
            consumer.read()


def put(namespace: str, content: bytes, token: str = "0") -> str:
    name = f"shmtel.{namespace}.bad.{token}"
    (SHM / name).write_bytes(content)
    return name


def change(image: bytearray, field: str, value: int | bytes) -> None:
    at = layout.HEADER_FIELDS.index(field)
    values = list(layout.HEADER.unpack_from(image))
    values[at] = value
    layout.HEADER.pack_into(image, 0, *values)


def assert_refused(name: str, reason: str) -> None:
    for role in (layout.ROLE_NOBODY, layout.ROLE_CONSUMER):
        with pytest.raises(SegmentError, match=reason) as caught:
            attach(name, role)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    (SHM / name).unlink()


def test_a_copy_of_a_good_segment_is_a_good_segment(namespace: str, image: bytearray) -> None:
    name = put(namespace, image)
    segment = attach(name)
    assert segment.schema.dtype == DTYPE
    assert segment.header.capacity == 8
    assert (segment.namespace, segment.producer, segment.token) == (namespace, "bad", "0")
    segment.close()
    segment.unlink()


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("magic", 0, "no magic"),
        ("magic", layout.MAGIC + 1, "no magic"),
        ("layout_version", 2, "layout version 2, expected 1"),
        ("byte_order", 0x04030201, "another byte order"),
        ("word_size", 4, "word size"),
        ("record_size", 8, "offsets"),
        ("record_size", 0, "offsets"),
        ("capacity", 0, "capacity 0"),
        ("capacity", 7, "capacity 7"),
        ("capacity", 2**63, "capacity"),
        ("capacity", 2**32, "offsets"),
        ("capacity", 4096, "offsets"),
        ("producer_offset", 0, "offsets"),
        ("producer_offset", 2**64 - 4096, "offsets"),
        ("reader_offset", 8, "offsets"),
        ("ring_offset", 2**63, "offsets"),
        ("catalogue_offset", 1, "offsets"),
        ("policy", 9, "policy 9"),
        ("clock", 9, "unknown clock 9"),
        ("schema_length", 0, "."),
        ("schema_length", 5, "."),
        ("schema_length", 2**32 - 1, "schema of 4294967295 bytes"),
    ],
)
def test_a_header_that_lies_is_one_segment_error(
    namespace: str, image: bytearray, field: str, value: int, reason: str
) -> None:
    change(image, field, value)
    assert_refused(put(namespace, image), reason)


def test_a_capacity_larger_than_the_file_is_refused(namespace: str, image: bytearray) -> None:
    change(image, "capacity", 2**20)
    length = layout.HEADER.unpack_from(image)[layout.HEADER_FIELDS.index("schema_length")]
    change(image, "catalogue_offset", layout.areas(length, DTYPE.itemsize, 2**20, 0).catalogue)
    assert_refused(put(namespace, image), "its header says")


@pytest.mark.parametrize(
    "schema",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 5000, b"[" * 5000,
     b'{"fields":[["x","|O8",0]],"itemsize":16,"roles":{},"events":false}',
     b'{"fields":[["x","<u4",-4]],"itemsize":16,"roles":{},"events":false}',
     b'{"fields":[["x","<u8",12]],"itemsize":16,"roles":{},"events":false}',
     b'{"fields":[],"itemsize":16,"roles":{},"events":false}',
     b'{"fields":[["x","<u8",0]],"itemsize":1e400,"roles":{},"events":false}',
     b'{"fields":[["x","<u8",0]],"itemsize":16,"roles":{"x":{"role":"spy"}},"events":false}',
     b'{"fields":[["x","<u8",0]],"itemsize":16,"roles":{"x":5},"events":false}'],
)  # fmt: skip
def test_a_schema_that_is_garbage_is_one_segment_error(namespace: str, image: bytearray, schema: bytes) -> None:
    offset = layout.HEADER_FIELDS.index("producer_offset")
    room = layout.HEADER.unpack_from(image)[offset] - layout.HEADER.size
    image[layout.HEADER.size : layout.HEADER.size + room] = schema[:room].ljust(room, b"\0")
    change(image, "schema_length", min(len(schema), room))
    assert_refused(put(namespace, image), ".")


@pytest.mark.parametrize("size", [0, 1, 100, layout.HEADER.size, layout.HEADER.size + 50, 8192, 12289])
def test_a_truncated_file_is_one_segment_error(namespace: str, image: bytearray, size: int) -> None:
    assert_refused(put(namespace, image[:size]), ".")


def test_garbage_is_one_segment_error(namespace: str) -> None:
    assert_refused(put(namespace, os.urandom(20000)), "no magic")
    assert_refused(put(namespace, bytes(20000)), "no magic")


def test_a_sparse_file_is_refused_since_reading_it_takes_memory(namespace: str, image: bytearray) -> None:
    name = put(namespace, image)
    os.truncate(SHM / name, 2**40)
    assert_refused(name, "sparse")


def test_a_fifo_does_not_block_and_is_refused(namespace: str) -> None:
    name = f"shmtel.{namespace}.bad.fifo"
    os.mkfifo(SHM / name)
    assert_refused(name, "not a regular file|cannot open")


def test_a_symbolic_link_is_not_followed(namespace: str, image: bytearray) -> None:
    target, name = put(namespace, image), f"shmtel.{namespace}.bad.link"
    (SHM / name).symlink_to(target)
    assert_refused(name, "cannot open it: Too many levels of symbolic links")
    (SHM / target).unlink()


def test_a_directory_is_refused(namespace: str) -> None:
    name = f"shmtel.{namespace}.bad.folder"
    (SHM / name).mkdir()
    with pytest.raises(SegmentError):
        attach(name, layout.ROLE_CONSUMER)
    with pytest.raises(SegmentError, match="not a regular file"):
        attach(name)
    (SHM / name).rmdir()


def test_a_segment_that_is_gone_is_a_segment_error(namespace: str) -> None:
    with pytest.raises(SegmentError, match="No such file"):
        attach(f"shmtel.{namespace}.orders.0")


@pytest.mark.parametrize(
    "name", ["shmtel.a.b", "other.a.b.c", "shmtel.a.b.c.d", "shmtel.a/../b.c.d", "shmtel.a.@state.c"]
)
def test_other_names_are_not_segments_of_producers(name: str) -> None:
    assert parse_name(name) is None
    with pytest.raises(ValueError, match="expected shmtel"):
        attach(name)


def test_bad_segments_leave_the_good_ones_alone(
    namespace: str, image: bytearray, caplog: pytest.LogCaptureFixture
) -> None:
    with Producer("bad", DTYPE, namespace, capacity=8) as ring:
        names = [put(namespace, content, str(n)) for n, content in enumerate([b"", b"x" * 9999, image[:9000]])]
        os.mkfifo(SHM / f"shmtel.{namespace}.bad.fifo")
        with Consumer("bad", namespace) as consumer:
            ring.emit_many(np.array([(1, 1), (2, 2)], DTYPE))
            assert [consumer.read()["seq"].tolist() for _ in range(3)] == [[1, 2], [], []]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 4
    for name in [*names, f"shmtel.{namespace}.bad.fifo"]:
        assert sum(name in message for message in said) == 1
        (SHM / name).unlink()


@pytest.mark.parametrize("written", [9, 2**63, 2**64 - 1])
def test_positions_that_cannot_be_are_said_once_and_the_segment_is_left_aside(
    namespace: str, image: bytearray, written: int, caplog: pytest.LogCaptureFixture
) -> None:
    producer_offset = layout.HEADER.unpack_from(image)[layout.HEADER_FIELDS.index("producer_offset")]
    struct.pack_into("=Q", image, producer_offset + layout.WRITE_POSITION, written)
    name = put(namespace, image)
    with Consumer("bad", namespace) as consumer:
        assert [len(consumer.read()) for _ in range(3)] == [0, 0, 0]
    assert [record.getMessage() for record in caplog.records] == [
        f"left aside: {name}: {written:,} unread records in a ring of 8"
    ]
    assert (SHM / name).exists()
    (SHM / name).unlink()


def test_two_cannot_consume_one_segment_and_the_second_is_told_who_does(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8) as ring, Consumer("orders", namespace):
        with pytest.raises(ReaderBusyError, match=f"process {os.getpid()}") as caught:
            Consumer("orders", namespace)
        assert caught.value.pid == os.getpid()
        assert caught.value.what == ring.segment.name


def test_a_segment_has_its_mode_and_group_and_keeps_no_descriptor_open(namespace: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with (
        Producer("closed", DTYPE, namespace, capacity=8) as closed,
        Producer("open", DTYPE, namespace, capacity=8, mode=0o660, group=os.getgid()) as opened,
    ):
        assert len(os.listdir("/proc/self/fd")) == before
        assert (SHM / closed.segment.name).stat().st_mode & 0o777 == 0o600
        assert (SHM / opened.segment.name).stat().st_mode & 0o777 == 0o660


def test_many_producers_leave_no_descriptor_and_no_mapping(namespace: str) -> None:
    def held() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(Path("/proc/self/maps").read_text().splitlines())

    def use() -> None:
        with Producer("orders", DTYPE, namespace, capacity=8) as ring, Consumer("orders", namespace) as consumer:
            ring.emit_many(np.zeros(3, DTYPE))
            assert len(consumer.read()) == 3

    use()
    before = held()
    for _ in range(100):
        use()
    descriptors, mappings = held()
    # A hundred left behind would be a hundred more; of others in this process, some may come and go meanwhile.
    assert descriptors < before[0] + 50
    assert mappings < before[1] + 50


def test_the_largest_capacity_is_no_room_rather_than_a_crash(namespace: str) -> None:
    with pytest.raises(SegmentSpaceError, match=r"segment of 68,719,\d{3},\d{3} bytes"):
        Producer("orders", DTYPE, namespace, capacity=2**32)


@pytest.mark.parametrize(
    ("limit", "used", "room"), [("1000000", "999500", 1000), ("5", "509", 0), ("max", "9", None)]
)  # of what is used, 500 bytes are page cache
def test_the_cgroups_limit_is_looked_at_first(
    namespace: str, monkeypatch: pytest.MonkeyPatch, limit: str, used: str, room: int | None
) -> None:
    files = {
        "/proc/self/cgroup": "1:name=x:/y\n0::/jobs/one\n",
        "/sys/fs/cgroup/jobs/one/memory.max": limit,
        "/sys/fs/cgroup/jobs/one/memory.current": used,
        "/sys/fs/cgroup/jobs/one/memory.stat": "anon 7\nactive_file 200\ninactive_file 300\n",
    }
    monkeypatch.setattr("shmtelemetry.segment_space.open", lambda path: io.StringIO(files[path]), raising=False)
    if room is None:
        Producer("orders", DTYPE, namespace, capacity=8).close()
    else:
        with pytest.raises(SegmentSpaceError, match=f"{room:,} bytes are free in the cgroup's memory.max"):
            Producer("orders", DTYPE, namespace, capacity=8)


def test_every_byte_of_a_new_segment_is_reserved(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace) as ring:
        status = (SHM / ring.segment.name).stat()
        assert status.st_blocks * 512 >= status.st_size == ring.segment.size


def test_segments_are_listed_by_namespace_and_producer(namespace: str) -> None:
    with (
        Producer("a", DTYPE, namespace, capacity=8) as a,
        Producer("a", DTYPE, namespace, capacity=8) as again,
        Producer("b", DTYPE, namespace, capacity=8) as b,
    ):
        names = {ring.segment.name for ring in (a, again, b)}
        assert set(segment_names(namespace)) == names
        assert set(segment_names(namespace, "b")) == {b.segment.name}
        assert names <= set(segment_names())
        assert set(segment_names(namespace + "x")) == set()


def test_a_segment_of_another_process_is_read_only_unless_it_is_consumed(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8) as ring:
        segment = attach(ring.segment.name)
        assert segment.buf.readonly
        with pytest.raises(ValueError, match="not a writable"):
            segment.mapping.store(0, 0)
        segment.close()
        with pytest.raises(ValueError, match="closed"):
            segment.mapping.load(0)
