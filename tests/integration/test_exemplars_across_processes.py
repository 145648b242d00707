"""Exemplars of many processes: the newest of each bucket is shown, whoever emitted it and whoever was killed."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from shmtelemetry import Reader, Telemetry, layout, read_state
from shmtelemetry.aggregate.series import EXEMPLAR, SERIES, SERIES_TABLE, field_offset
from shmtelemetry.aggregate.snapshot import Exemplar, Snapshot
from shmtelemetry.errors import StateError
from shmtelemetry.exporters.prometheus import expose
from shmtelemetry.layout import KIND_EXEMPLAR
from shmtelemetry.segment import Segment, attach, segment_names
from tests.catalogue import places
from tests.forging import Forgery, catalogue_record
from tests.processes import child, in_child, kill, wait_until
from tests.reading import read_position, running_reader, state_of, talker, the_segment
from tests.stepping import instants

ENOUGH = 60.0
BOUNDS = (1.0, 2.0)


def emit(namespace: str, value: float, exemplar: str, name: str = "p", buckets: tuple[float, ...] = BOUNDS) -> None:
    with Telemetry(name, namespace, capacity=64) as telemetry:
        assert telemetry.histogram("h", buckets=buckets).emit(value, exemplar=exemplar)
        assert telemetry.counter("c").inc(value, exemplar)


def shown(snapshot: Snapshot, name: str = "h") -> dict[int, str]:
    """Bucket → trace id, of a family with one series."""
    return {exemplar.bucket: exemplar.labels[0][1] for exemplar in snapshot.families[name].exemplars}


@pytest.mark.parametrize("running", [True, False])
def test_the_newest_of_each_bucket_wins_whoever_emitted_it(namespace: str, running: bool) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("here", namespace) as telemetry:
        histogram = telemetry.histogram("h", buckets=BOUNDS)
        if running:
            reader.start()
        wanted: dict[int, str] = {}
        for turn in range(12):
            bucket = turn % 3
            wanted[bucket] = f"trace-{turn}"
            if turn % 2:
                assert histogram.emit(bucket + 0.5, exemplar=wanted[bucket])
            else:
                in_child(lambda: emit(namespace, bucket + 0.5, wanted[bucket]))  # noqa: B023
            assert shown(reader.scrape()) == wanted
        assert reader.snapshot().families["h"].counts.sum() == 12


def test_a_scrape_shows_what_was_emitted_before_it(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        histogram, counter = telemetry.histogram("h", buckets=BOUNDS), telemetry.counter("c")
        reader.start()
        for turn in range(200):
            assert histogram.emit(turn % 3 + 0.5, exemplar=f"h{turn}")
            assert counter.inc(2.0, {"span_id": f"c{turn}", "trace_id": "x" * (turn % 100)})
            assert reader.catch_up(ENOUGH)
            snapshot = reader.snapshot()
            assert shown(snapshot)[turn % 3] == f"h{turn}"
            (newest,) = snapshot.families["c_total"].exemplars
            assert newest.labels == (("span_id", f"c{turn}"), ("trace_id", "x" * (turn % 100)))
            assert (newest.series, newest.bucket, newest.value) == (0, 0, 2.0)
            assert abs(newest.time_ns - snapshot.taken_ns) < 60e9


def test_a_scrape_waits_for_exemplars_and_not_for_records_alone(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        assert telemetry.counter("c").inc(1.0, "a")
        reader.poll()
        agent, segment = reader._role._agent, telemetry._producer.segment  # type: ignore[union-attr]
        assert agent.behind(agent.published()) == []
        at = segment.header.producer_offset + layout.EXEMPLARS
        segment.mapping.store(at, segment.mapping.load(at) + 1)  # as if one came after its record was drained
        published = agent.published()
        assert agent.behind(published) != []
        reader.poll()
        assert agent.behind(published) == []


def test_every_series_has_its_own_in_order_of_series_and_bucket(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        family = telemetry.histogram("h", labels=("n",), buckets=BOUNDS)
        for number in range(400):
            family.labels(number).emit(0.5)
            for bucket in range(number % 4):
                assert family.labels(number).emit(bucket + 0.5, exemplar=f"{number}-{bucket}")
        reader.poll()
        shows = reader.snapshot().families["h"]
        labels = [number for (number,) in shows.labels]
        found = [(labels[one.series], one.bucket, one.labels[0][1]) for one in shows.exemplars]
        assert found == [(str(n), bucket, f"{n}-{bucket}") for n in range(400) for bucket in range(n % 4)]
        assert read_state(namespace).families["h"].exemplars == shows.exemplars


def test_an_exemplar_is_sorted_into_the_buckets_that_are_shown(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        emit(namespace, 0.5, "first")
        reader.poll()
        emit(namespace, 1.7, "other bounds", buckets=(0.1, 1.5, 1.6, 1.8))
        reader.poll()
        assert shown(reader.snapshot()) == {0: "first", 1: "other bounds"}


def test_a_forked_child_has_places_of_its_own(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        histogram = telemetry.histogram("h", buckets=BOUNDS)
        assert histogram.emit(0.5, exemplar="parent before")
        assert in_child(lambda: histogram.emit(0.5, exemplar="child") and histogram.emit(1.5, exemplar="child too"))
        assert histogram.emit(2.5, exemplar="parent")
        reader.poll()
        assert shown(reader.snapshot()) == {0: "child", 1: "child too", 2: "parent"}
        assert histogram.emit(1.5, exemplar="parent after")
        reader.poll()
        assert shown(reader.snapshot()) == {0: "child", 1: "parent after", 2: "parent"}


def test_they_outlive_their_producer_and_their_reader(namespace: str) -> None:
    for turn in range(4):
        emit(namespace, turn % 3 + 0.5, f"trace-{turn}")
        with Reader(namespace, ephemeral=turn == 3) as reader:
            reader.poll()
            snapshot = reader.snapshot()
            assert shown(snapshot) == {
                bucket: f"trace-{max(range(bucket, turn + 1, 3))}" for bucket in range(min(turn + 1, 3))
            }
            assert shown(snapshot, "c_total") == {0: f"trace-{turn}"}
            assert list(segment_names(namespace)) == []


def test_a_removed_series_that_comes_back_has_none(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        family = telemetry.histogram("h", labels=("n",), buckets=BOUNDS)
        for turn in range(3):
            assert family.labels("x").emit(0.5, exemplar=f"turn {turn}")
            reader.poll()
            assert shown(reader.snapshot()) == {0: f"turn {turn}"}
            family.remove("x")
            reader.poll()
            assert reader.snapshot().families["h"].exemplars == ()
            assert family.labels("x").emit(1.5)
            reader.poll()
            assert reader.snapshot().families["h"].exemplars == ()
            family.remove("x")
            reader.poll()


def test_those_of_a_state_that_was_removed_do_not_come_back(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry:
        histogram = telemetry.histogram("h", buckets=BOUNDS)
        assert histogram.emit(0.5, exemplar="before")
        for _ in range(2):
            with Reader(namespace, ephemeral=True) as reader:
                reader.poll()
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            assert histogram.emit(1.5, exemplar="after")
            reader.poll()
            assert shown(reader.snapshot()) == {1: "after"}


def whole(exemplar: Exemplar) -> int:
    """The number of an exemplar that `emit_many` made; fails for a torn one."""
    (_, (name, text)) = exemplar.labels
    number = int(text.rstrip("."))
    assert exemplar.labels == (("number", str(number)), (name, text))
    assert exemplar.value == number % 3 + 0.5
    assert exemplar.bucket == number % 3
    assert len(text) == max(len(str(number)), number % 90)
    return number


def emit_many(namespace: str, asked: Callable[[], bool]) -> int:
    """Exemplars of many lengths, as fast as they go; how many there were."""
    number = 0
    with Telemetry("p", namespace, capacity=2**16) as telemetry:
        histogram = telemetry.histogram("h", buckets=BOUNDS)
        while not asked():
            for _ in range(1000):
                number += 1
                text = str(number).ljust(number % 90, ".")
                histogram.emit(number % 3 + 0.5, exemplar={"number": str(number), "text": text})
    return number


def numbers_in_state(namespace: str) -> dict[int, int]:
    """By bucket."""
    family = read_state(namespace).families.get("h")
    return {exemplar.bucket: whole(exemplar) for exemplar in family.exemplars} if family else {}


def test_no_kill_of_a_reader_tears_one_or_brings_an_old_one_back(namespace: str) -> None:
    chance = Random(8)
    newest: dict[int, int] = {}
    with talker(lambda asked: emit_many(namespace, asked)) as producer:
        segment = the_segment(namespace)
        for any_new in (False, True) * 4:  # also before it has any of them: exemplars come after the first records
            with running_reader(namespace) as reader:
                goal = read_position(segment) + chance.randrange(1, 30_000)
                wait_until(lambda: read_position(segment) >= goal, "the reader has come that far")  # noqa: B023
                if any_new:
                    wait_until(lambda: numbers_in_state(namespace) != newest, "it has newer ones")  # noqa: B023
                os.kill(reader, signal.SIGKILL)
            found = numbers_in_state(namespace)
            assert all(found[bucket] >= number for bucket, number in newest.items())
            newest = found
        segment.close()
        with Reader(namespace, ephemeral=True) as last:
            last.start()
            last.catch_up(ENOUGH)
            total = producer.finish()
            assert last.settle(ENOUGH)
            accepted = {whole(exemplar) for exemplar in last.snapshot().families["h"].exemplars}
            assert {number % 3 for number in accepted} == {0, 1, 2}
            assert max(newest.values()) <= max(accepted) <= total


@pytest.mark.unsanitized(reason="a sanitizer makes a hundred instructions of each, and this stops after every one")
def test_a_kill_after_any_instruction_of_emit_leaves_the_old_or_the_new_one(namespace: str) -> None:
    with Telemetry("p", namespace, capacity=64) as telemetry:
        telemetry.histogram("h", buckets=BOUNDS)

        def prepare() -> Callable[[], object]:
            histogram = telemetry.histogram("h", buckets=BOUNDS)
            assert histogram.emit(0.25, exemplar="old" * 10)
            assert histogram.emit(0.5, exemplar="old" * 20)
            return lambda: [histogram.emit(0.75, exemplar="new" * 11), histogram.emit(1.0, exemplar="new" * 20)]

        segments: list[Segment] = []

        def find() -> None:
            names = [name for name in segment_names(namespace) if name != telemetry._producer.segment.name]
            segments.extend(map(attach, names))

        seen = []
        for _ in instants(prepare, find, lambda: segments[0].catalogue()):
            ((_, _, value, labels),) = places(segments[0])
            seen.append((value, labels["trace_id"]))
        segments[0].close()
    kept = [(0.5, "old" * 20), (0.75, "new" * 11), (1.0, "new" * 20)]
    assert [one for at, one in enumerate(seen) if one not in seen[:at]] == kept
    assert len(seen) >= 8  # by cache lines and words, as memcpy goes
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        assert shown(reader.snapshot()) == {0: "new" * 20}


def test_no_kill_of_a_producer_tears_one(namespace: str) -> None:
    chance = Random(9)
    with Reader(namespace, ephemeral=True) as reader:
        for _ in range(15):
            with child(lambda: emit_many(namespace, lambda: False)) as pid:
                segment = the_segment(namespace)
                goal = chance.randrange(1, 20_000)
                at = segment.header.producer_offset + layout.EXEMPLARS
                wait_until(lambda: segment.mapping.load(at) >= goal, "the producer has come that far")  # noqa: B023
                kill(pid)
                kept = segment.mapping.load(at)
                segment.close()
            assert reader.settle(ENOUGH)
            numbers = [whole(exemplar) for exemplar in reader.snapshot().families["h"].exemplars]
            # It may be killed between a place and the count that tells of it, and some observations were lost.
            assert kept - 3 <= max(numbers)
            assert len(numbers) == 3


def test_copies_are_whole_while_exemplars_change(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, talker(lambda asked: emit_many(namespace, asked)) as producer:
        reader.start()
        wait_until(lambda: "h" in reader.scrape().families, "there is a histogram")
        seen = set()
        while len(seen) < 200:
            seen |= {whole(exemplar) for exemplar in reader.snapshot().families["h"].exemplars}
            seen |= {whole(exemplar) for exemplar in read_state(namespace).families["h"].exemplars}
        producer.finish()
        assert reader.settle(ENOUGH)


def test_thousands_of_first_exemplars_make_the_state_grow_at_once(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        family = telemetry.histogram("h", labels=("n",), buckets=BOUNDS)
        handles = [family.labels(number) for number in range(2000)]
        for handle in handles:
            handle.emit(0.5)
        reader.poll()
        before = state_of(namespace).stat().st_size
        for number, handle in enumerate(handles):
            assert all(handle.emit(bucket + 0.5, exemplar=f"{number}-{bucket}") for bucket in range(3))
        reader.poll()
        assert len(reader.snapshot().families["h"].exemplars) == 6000
        assert state_of(namespace).stat().st_size > before + 3 * 128 * 2000


# ---- segments and states that lie ----


def place(series: int, room: int, size: int | None = None, labels: bytes = b"", length: int | None = None) -> bytes:
    """The catalogue record of an exemplar that was emitted once."""
    slot = layout.EXEMPLAR_SLOT.pack(0, 0.5, len(labels) if length is None else length) + labels.ljust(room, b"\0")
    payload = layout.EXEMPLAR.pack(1, series, room) + bytes(len(slot)) + slot
    return catalogue_record(KIND_EXEMPLAR, payload[:size])


LIES = {
    "of a series that there is none of": place(7, 72),
    "of the last series there can be": place(2**32 - 1, 72),
    "that is larger than its record": place(0, 72, 16 + 2 * 96 - 8),
    "without slots": place(0, 0, 16),
    "of half a head": place(0, 72, 8),
    "with room for more than there is": place(0, 584),
    "with room without end": catalogue_record(KIND_EXEMPLAR, layout.EXEMPLAR.pack(1, 0, 2**32 - 8) + bytes(256)),
    "whose slots are not aligned": place(0, 77),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_place_that_lies_costs_its_own_segment_alone(namespace: str, lie: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=16) as telemetry:
        histogram = telemetry.histogram("h", buckets=BOUNDS)
        forged = Forgery(telemetry._producer.segment)
        forged.set_catalogue(telemetry._producer.segment.catalogue() + LIES[lie])
        path = forged.put()
        assert histogram.emit(0.5, exemplar="true")
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("shmtel_producers", state="quarantined") == 1
        assert shown(snapshot) == {0: "true"}
        path.unlink()


def label(name: bytes, value: bytes) -> bytes:
    return layout.EXEMPLAR_LABEL.pack(len(name), len(value)) + name + value


LABELS = {
    "nothing": b"",
    "a length beyond its room": (label(b"a", b"b"), 2**63),
    "a length just beyond its room": (label(b"a", b"b"), 577),
    "zeros": bytes(64),
    "half a head": b"\1",
    "a value that is not there": label(b"a", b"bcd")[:-1],
    "lengths without end": struct.pack("=HH", 65535, 65535) + b"a" * 64,
    "a name that is none": label(b"a b", b"c"),
    "a name that would end the line": label(b'a="b"} 1\nevil', b"c"),
    "a name that is reserved": label(b"__name__", b"c"),
    "a name twice": label(b"a", b"b") + label(b"a", b"c"),
    "a value that is no text": label(b"a", b"\xff\xfe"),
    "too many characters": label(b"a", b"b" * 128),
    "characters beyond the first": label(b"a", b"b") + label(b"\xff", b""),
}


@pytest.mark.parametrize("lie", LABELS)
def test_labels_that_cannot_be_are_not_shown(namespace: str, lie: str) -> None:
    labels, length = (LABELS[lie], None) if isinstance(LABELS[lie], bytes) else LABELS[lie]  # type: ignore[misc]
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=16) as telemetry:
        telemetry.histogram("h", buckets=BOUNDS)
        forged = Forgery(telemetry._producer.segment)
        forged.set_catalogue(telemetry._producer.segment.catalogue() + place(0, 576, None, labels, length))
        forged.set_produced(layout.EXEMPLARS, -1)
        path = forged.put()
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.families["h"].exemplars == ()
        assert b"#" not in expose(snapshot, openmetrics=True).split(b"h_bucket", 1)[1].split(b"h_count")[0]
        reader.start()
        assert reader.catch_up(ENOUGH)
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), -1.0, float("inf")])
def test_values_that_a_counter_does_not_take_are_not_shown(namespace: str, value: float) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=16) as telemetry:
        telemetry.counter("c"), telemetry.gauge("g"), telemetry.histogram("h", buckets=BOUNDS)
        forged = Forgery(telemetry._producer.segment)
        slot = layout.EXEMPLAR_SLOT.pack(2**63, value, 6) + label(b"a", b"b").ljust(72, b"\0")
        records = b"".join(
            catalogue_record(KIND_EXEMPLAR, layout.EXEMPLAR.pack(1, series, 72) + bytes(96) + slot)
            for series in range(3)
        )
        forged.set_catalogue(telemetry._producer.segment.catalogue() + records)
        path = forged.put()
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.families["c_total"].exemplars == snapshot.families["g"].exemplars == ()
        assert [exemplar.bucket for exemplar in snapshot.families["h"].exemplars] == (
            [] if np.isnan(value) else [2 if value > 0 else 0]
        )
        path.unlink(missing_ok=True)


def series_place(namespace: str, name: str) -> int:
    """Offset of the structure of the first series of a metric."""
    with Reader(namespace) as reader:
        state = reader._role._state  # type: ignore[union-attr]
        number = next(n for n, (metric, _) in enumerate(state.series) if state.metrics[metric].name == name)
        return state.place(SERIES_TABLE, number)


@pytest.mark.parametrize("what", ["table", "table beyond the end", "block", "length"])
def test_a_state_whose_exemplars_lie_is_refused(namespace: str, what: str) -> None:
    emit(namespace, 0.5, "a")
    with Reader(namespace) as reader:
        reader.poll()
    path, at = state_of(namespace), series_place(namespace, "h") + field_offset(SERIES, "exemplars")
    stored = bytearray(path.read_bytes())
    (table,) = struct.unpack_from("=Q", stored, at)
    (block,) = struct.unpack_from("=Q", stored, table)
    lies = {
        "table": (at, 8), "table beyond the end": (at, 2**60), "block": (table, 2**62 + 64),
        "length": (block + field_offset(EXEMPLAR, "length"), 2**32 - 1),
    }  # fmt: skip
    struct.pack_into("=Q", stored, *lies[what])
    path.write_bytes(stored)
    with pytest.raises(StateError, match="damaged"):
        Reader(namespace)
    if what != "length":
        with pytest.raises(StateError):
            read_state(namespace)
    path.unlink()
