"""Segments that lie are left aside with one line in the log; all others are drained as if they were not there."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import SAMPLE, Reader, Telemetry, layout
from shmtelemetry.layout import KIND_METRIC, KIND_SERIES
from shmtelemetry.metric import metric
from tests.forging import Forgery, catalogue_record, series_payload

COUNTER = metric("counter", "c").to_json()
LABELLED = metric("counter", "l", labels=("a",)).to_json()


@contextmanager
def healthy(namespace: str) -> Iterator[tuple[Reader, Telemetry]]:
    """A reader, and a producer that must not notice anything."""
    with Reader(namespace, ephemeral=True) as reader, Telemetry("healthy", namespace, capacity=16) as telemetry:
        telemetry.counter("c").inc()
        yield reader, telemetry


def assert_left_aside(
    reader: Reader, telemetry: Telemetry, path: Path, caplog: pytest.LogCaptureFixture, why: str = ""
) -> None:
    """It is, with one line, whatever the reader does; the healthy producer is counted."""
    with caplog.at_level(logging.WARNING):
        for total in range(1, 4):
            reader.poll()
            snapshot = reader.snapshot()
            assert snapshot.value("c_total") == total
            assert snapshot.value("shmtel_producers", state="quarantined") == 1
            assert snapshot.value("shmtel_producers", state="live") == 1
            telemetry.counter("c").inc()
        reader.start()
        assert reader.catch_up(60.0)
        reader.stop()
    assert len([line for line in caplog.messages if "left aside" in line]) == 1, caplog.messages
    assert path.name in caplog.text
    assert why in caplog.text
    assert path.exists() or path.is_symlink()
    assert reader.snapshot().producers["healthy"].holds
    path.unlink()
    reader.poll()
    assert reader.snapshot().value("shmtel_producers", state="quarantined") == 0


HEADERS: dict[str, Callable[[Forgery], object]] = {
    "no magic": lambda forged: forged.set_header("magic", 0),
    "another version": lambda forged: forged.set_header("layout_version", 2),
    "another byte order": lambda forged: forged.set_header("byte_order", 0x04030201),
    "another word size": lambda forged: forged.set_header("word_size", 4),
    "records of no size": lambda forged: forged.set_header("record_size", 0),
    "records of another size": lambda forged: forged.set_header("record_size", 16),
    "a capacity that is no power of two": lambda forged: forged.set_header("capacity", 17),
    "more capacity than file": lambda forged: forged.set_header("capacity", 2**31),
    "a ring elsewhere": lambda forged: forged.set_header("ring_offset", 0),
    "a catalogue elsewhere": lambda forged: forged.set_header("catalogue_offset", 2**63),
    "an unknown policy": lambda forged: forged.set_header("policy", 9),
    "an unknown clock": lambda forged: forged.set_header("clock", 9),
    "a schema without end": lambda forged: forged.set_header("schema_length", 2**31),
    "a schema that is no JSON": lambda forged: forged.set_schema(b"{"),
    "a schema of nothing": lambda forged: forged.set_schema(b"null"),
    "instruments whose records are no samples": lambda forged: forged.set_schema(
        json.dumps(
            {
                "fields": [["x", "<u8", 0], ["y", "<u8", 8], ["z", "<u8", 16]],
                "itemsize": 24,
                "roles": {},
                "events": False,
            }
        ).encode()
    ),
    "nothing": lambda forged: forged.bytes.clear(),
    "half a header": lambda forged: forged.bytes.__delitem__(slice(100, None)),
    "half a ring": lambda forged: forged.bytes.__delitem__(slice(forged.header.ring_offset + 8, None)),
}


@pytest.mark.parametrize("lie", HEADERS)
def test_a_header_that_lies(namespace: str, lie: str, caplog: pytest.LogCaptureFixture) -> None:
    with healthy(namespace) as (reader, telemetry):
        forged = Forgery(telemetry._producer.segment)
        HEADERS[lie](forged)
        assert_left_aside(reader, telemetry, forged.put(), caplog)


ROLES = {
    "help that is no text": {"role": "counter", "help": 5},
    "a name that is no text": {"role": "counter", "name": ["x"]},
    "an unknown role": {"role": "king"},
    "a unit that is none": {"role": "histogram", "unit": "parsec"},
    "buckets that fall": {"role": "histogram", "buckets": [2, 1]},
    "buckets that are none": {"role": "histogram", "buckets": 7},
    "values of no label": {"role": "label", "values": 5},
    "a merge that is none": {"role": "gauge", "merge": {}},
}


@pytest.mark.parametrize("lie", ROLES)
def test_a_role_that_lies(namespace: str, lie: str, caplog: pytest.LogCaptureFixture) -> None:
    with healthy(namespace) as (reader, telemetry):
        forged = Forgery(telemetry._producer.segment)
        roles = {"series": ROLES[lie]}
        fields = [["time", "<u8", 0], ["series", "<u4", 8], ["flags", "<u4", 12], ["value", "<f8", 16]]
        forged.set_schema(json.dumps({"fields": fields, "itemsize": 24, "roles": roles, "events": False}).encode())
        forged.set_header("flags", 0)
        assert_left_aside(reader, telemetry, forged.put(), caplog)


POSITIONS: dict[str, Callable[[Forgery], object]] = {
    "more unread records than the ring holds": lambda forged: forged.set_produced(layout.WRITE_POSITION, 17),
    "unread records without end": lambda forged: forged.set_produced(layout.WRITE_POSITION, 2**63),
    "a writer behind its reader": lambda forged: forged.set_produced(layout.WRITE_POSITION, -1),
    "a reader before its writer": lambda forged: forged.set_read(layout.READ_POSITION, 2),
    "a reader far before its writer": lambda forged: forged.set_read(layout.READ_POSITION, 2**62),
}


@pytest.mark.parametrize("lie", POSITIONS)
def test_positions_that_lie(namespace: str, lie: str, caplog: pytest.LogCaptureFixture) -> None:
    with healthy(namespace) as (reader, telemetry):
        forged = Forgery(telemetry._producer.segment)
        POSITIONS[lie](forged)
        path = forged.put()
        with caplog.at_level(logging.WARNING):
            for total in range(1, 4):
                reader.poll()
                snapshot = reader.snapshot()
                assert snapshot.value("c_total") == total
                assert snapshot.value("shmtel_producers", state="quarantined") == 1
                telemetry.counter("c").inc()
        assert len([line for line in caplog.messages if "left aside" in line]) == 1
        assert "its positions or figures cannot be" in caplog.text
        path.unlink()


CATALOGUES = {
    "a record longer than the catalogue": catalogue_record(KIND_METRIC, COUNTER)[:-8],
    "half a record's head": b"\1\0\0\0",
    "a length that is not aligned": layout.CATALOGUE_RECORD.pack(KIND_METRIC, 0, 3) + bytes(8),
    "a length without end": layout.CATALOGUE_RECORD.pack(KIND_METRIC, 0, 2**32 - 8),
    "a series too short for a cell": layout.CATALOGUE_RECORD.pack(KIND_SERIES, 0, 8) + bytes(8),
    "a series of no metric": catalogue_record(KIND_SERIES, series_payload(0, ())),
    "a series of a later metric": catalogue_record(KIND_METRIC, COUNTER)
    + catalogue_record(KIND_SERIES, series_payload(1, ())),
    "more label values than labels": catalogue_record(KIND_METRIC, COUNTER)
    + catalogue_record(KIND_SERIES, series_payload(0, ("a",))),
    "fewer label values than labels": catalogue_record(KIND_METRIC, LABELLED)
    + catalogue_record(KIND_SERIES, series_payload(0, ())),
    "label values that are not there": catalogue_record(KIND_METRIC, LABELLED)
    + catalogue_record(KIND_SERIES, bytes(layout.CELL_SIZE) + layout.SERIES_METRIC.pack(0, 2**32 - 1)),
    "a label value without end": catalogue_record(KIND_METRIC, LABELLED)
    + catalogue_record(KIND_SERIES, series_payload(0, ("aaaa",)).replace(b"\4\0\0\0aaaa", b"\xff\xff\xff\x7faaaa")),
    "a label value that is no text": catalogue_record(KIND_METRIC, LABELLED)
    + catalogue_record(KIND_SERIES, series_payload(0, ("aaaa",)).replace(b"aaaa", b"\xff\xfe\xfd\xfc")),
}


@pytest.mark.parametrize("lie", CATALOGUES)
def test_a_catalogue_that_lies(namespace: str, lie: str, caplog: pytest.LogCaptureFixture) -> None:
    with healthy(namespace) as (reader, telemetry):
        forged = Forgery(telemetry._producer.segment)
        forged.set_catalogue(CATALOGUES[lie])
        assert_left_aside(reader, telemetry, forged.put(), caplog)


@pytest.mark.parametrize("length", [2**63, layout.MAX_CATALOGUE + 1, layout.MAX_CATALOGUE, 2**20])
def test_a_catalogue_that_goes_beyond_its_file(namespace: str, length: int, caplog: pytest.LogCaptureFixture) -> None:
    with healthy(namespace) as (reader, telemetry):
        forged = Forgery(telemetry._producer.segment)
        forged.set_produced(layout.CATALOGUE_LENGTH, length)
        assert_left_aside(reader, telemetry, forged.put(), caplog)


METRICS = [
    b"", b"{", b"[]", b"null", b"5", b'"x"', b"{}", b"\xff\xfe", b"[" * 100_000,
    b'{"name":"x"}', b'{"name":"x","kind":"king"}', b'{"name":5,"kind":"counter"}', b'{"name":"x","kind":["counter"]}',
    b'{"name":"1x","kind":"counter"}', b'{"name":"x","kind":"counter","help":5}',
    b'{"name":"x","kind":"counter","more":1}',
    b'{"name":"x","kind":"counter","labels":5}', b'{"name":"x","kind":"counter","labels":[5]}',
    b'{"name":"x","kind":"counter","labels":["a","a"]}', b'{"name":"x","kind":"histogram","labels":["le"]}',
    b'{"name":"x","kind":"histogram","buckets":5}', b'{"name":"x","kind":"histogram","buckets":["a"]}',
    b'{"name":"x","kind":"histogram","buckets":[2,1]}', b'{"name":"x","kind":"histogram","buckets":[NaN]}',
    b'{"name":"x","kind":"histogram","buckets":[1' + b"0" * 400 + b"]}", b'{"name":"x","kind":"gauge","merge":{}}',
    b'{"name":"x","kind":"gauge","unit":5}', b'{"name":"x","kind":"gauge","unit":["s"]}',
]  # fmt: skip


@pytest.mark.parametrize("stored", METRICS, ids=lambda stored: stored[:40].decode("ascii", "replace"))
def test_a_metric_that_cannot_be(namespace: str, stored: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with healthy(namespace) as (reader, telemetry):
        forged = Forgery(telemetry._producer.segment)
        forged.bytes += bytes(128 * 1024)
        forged.set_catalogue(catalogue_record(KIND_METRIC, stored))
        assert_left_aside(reader, telemetry, forged.put(), caplog)


def test_a_catalogue_that_breaks_later_costs_only_its_own_segment(
    namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with healthy(namespace) as (reader, _), Telemetry("bad", namespace, capacity=16) as bad:
        handle = bad.counter("d")
        handle.inc(5)
        reader.poll()
        bad._append(KIND_METRIC, b"{")
        bad._metrics += 1
        bad.counter("e").inc()
        with caplog.at_level(logging.WARNING):
            reader.poll()
            reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("d_total") == 5
        assert snapshot.value("c_total") == 1
        assert snapshot.value("shmtel_producers", state="quarantined") == 1
        assert len(caplog.messages) == 1
        name = bad._producer.segment.name
    Path("/dev/shm", name).unlink(missing_ok=True)


def test_unknown_kinds_of_catalogue_records_are_skipped(namespace: str) -> None:
    with healthy(namespace) as (reader, telemetry):
        telemetry._append(77, b"from a later version")
        telemetry._append(layout.KIND_RETIRE, bytes(8))
        telemetry.counter("d").inc(2)
        reader.poll()
        assert reader.snapshot().value("d_total") == 2
        assert reader.snapshot().value("shmtel_producers", state="quarantined") == 0


def test_samples_of_series_that_there_are_none_of_are_invalid(namespace: str) -> None:
    with healthy(namespace) as (reader, telemetry):
        garbage = np.array([(0, number, 7, 1.0) for number in (1, 2, 2**31, 2**32 - 1)], SAMPLE)
        telemetry._producer.emit_many(garbage)
        telemetry.counter("c").inc()
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("c_total") == 2
        assert snapshot.value("shmtel_invalid_records_total", producer="healthy") == 4
        assert snapshot.value("shmtel_producers", state="quarantined") == 0


def test_a_copy_of_a_living_segment_is_left_aside(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    with healthy(namespace) as (reader, telemetry):
        reader.poll()
        telemetry.counter("c").inc()
        original = telemetry._producer.segment
        copy = Path("/dev/shm", f"shmtel.{namespace}.healthy.copy")
        copy.write_bytes(Path("/dev/shm", original.name).read_bytes())
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                reader.poll()
        assert reader.snapshot().value("c_total") == 2
        assert reader.snapshot().value("shmtel_producers", state="quarantined") == 1
        assert "copy of another segment" in caplog.text
        copy.unlink()


@pytest.mark.parametrize("what", ["directory", "link", "dangling link", "pipe", "sparse"])
def test_what_is_no_file_of_ours(namespace: str, what: str, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with healthy(namespace) as (reader, telemetry):
        path = Path("/dev/shm", f"shmtel.{namespace}.other.thing")
        if what == "directory":
            path.mkdir()
        elif what == "pipe":
            os.mkfifo(path)
        elif what == "sparse":
            forged = Forgery(telemetry._producer.segment)
            with path.open("wb") as file:
                file.write(forged.bytes[: forged.header.ring_offset])
                file.truncate(len(forged.bytes))
        else:
            target = tmp_path / "target"
            if what == "link":
                target.write_bytes(Forgery(telemetry._producer.segment).bytes)
            path.symlink_to(target)
        if what == "directory":
            reader.poll()
            assert reader.snapshot().value("shmtel_producers", state="quarantined") == 1
            path.rmdir()
        else:
            assert_left_aside(reader, telemetry, path, caplog)
