"""A full /dev/shm is one clear error, and nothing is left of the attempt."""

from __future__ import annotations

import json
import pickle

import pytest

from shmtelemetry.errors import ReaderBusyError, SegmentSpaceError
from tests.peers import with_small_shm


def answer(script: str, size: str = "1m") -> dict[str, object]:
    prelude = "import json, os, numpy as np\nfrom shmtelemetry import *\nfrom shmtelemetry.errors import *\n"
    prelude += "DTYPE = np.dtype([('seq', '<u8'), ('value', '<f8')])\n"
    done = with_small_shm(size, prelude + script)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_a_shm_that_is_too_small_is_named_with_both_figures() -> None:
    found = answer("""
try:
    Producer("orders", DTYPE, capacity=65536)
except SegmentSpaceError as error:
    answer = {"message": str(error), "wanted": error.wanted, "free": error.free, "files": os.listdir("/dev/shm")}
    print(json.dumps(answer))
""")
    assert found["wanted"] > 65536 * 16  # type: ignore[operator]
    assert found["free"] == 1024 * 1024
    assert f"{found['wanted']:,}" in str(found["message"])
    assert "1,048,576 bytes are free in /dev/shm" in str(found["message"])
    assert found["files"] == []


def test_what_fits_works_and_what_no_longer_fits_does_not_harm_it() -> None:
    found = answer("""
with Producer("orders", DTYPE, capacity=32768) as ring, Consumer("orders") as consumer:
    refused = 0
    for capacity in (65536, 32768):
        try:
            Producer("more", DTYPE, capacity=capacity)
        except SegmentSpaceError:
            refused += 1
    accepted = sum(ring.emit_fields(n, 0.5) for n in range(40000))
    files = len(os.listdir("/dev/shm"))
    print(json.dumps({"refused": refused, "accepted": accepted, "read": len(consumer.read()), "files": files}))
""")
    assert found == {"refused": 2, "accepted": 32768, "read": 32768, "files": 1}


def test_a_forked_child_without_room_counts_what_it_loses() -> None:
    found = answer("""
import logging
from shmtelemetry.accounting import segment_stats
logging.disable()
ring = Producer("orders", DTYPE, capacity=32768)
spare = open("/dev/shm/spare", "wb")
spare.write(bytes(450 * 1024)); spare.flush()
read, write = os.pipe()
if os.fork() == 0:
    lost = [ring.emit_fields(n, 0.0) for n in range(5)]
    try:
        ring.emit(b"")
    except ValueError:
        pass
    without = ring.stats()
    os.truncate("/dev/shm/spare", 0)
    while not ring.emit_fields(7, 0.0):
        lost.append(False)
    stats = ring.stats()
    answer = {"lost": sum(lost), "count": len(lost), "attempted": stats.attempted,
              "no_ring": stats.dropped["no_ring"], "rejected": stats.rejected,
              "in_ring": stats.in_ring, "holds": stats.holds,
              "stored": [segment_stats(ring.segment).dropped["no_ring"], segment_stats(ring.segment).rejected],
              "without": [without.attempted, without.dropped["no_ring"], without.rejected]}
    os.write(write, json.dumps(answer).encode())
    os._exit(0)
os.wait()
found = json.loads(os.read(read, 4096))
found["parents"] = ring.stats().attempted
print(json.dumps(found))
""")
    assert found["lost"] == 0
    assert found["without"] == [6, 5, 1]
    assert found["no_ring"] == found["count"]
    assert found["stored"] == [found["count"], 1]  # so a reader sees them too
    assert found["attempted"] == found["count"] + 2  # type: ignore[operator]
    assert (found["rejected"], found["in_ring"], found["parents"], found["holds"]) == (1, 1, 0, True)


def test_a_catalogue_that_cannot_grow_is_an_error_of_labels_and_harms_nothing_else() -> None:
    found = answer("""
tel = Telemetry("bot", capacity=1024)
orders = tel.counter("orders_total", labels=("symbol",))
handles = []
try:
    while True:
        handles.append(orders.labels(f"symbol-{len(handles)}"))
except SegmentSpaceError as error:
    message = str(error)
for number in (0, -1):
    assert handles[number].inc()
assert orders.labels("symbol-0") is handles[0]
try:
    tel.gauge("g" * 4000)
except SegmentSpaceError:
    pass
with Consumer("bot") as consumer:
    print(json.dumps({"message": message, "count": len(handles), "series": consumer.read()["series"].tolist(),
                      "catalogue": tel._producer.segment.catalogue().count(b"symbol-")}))
""")
    assert "no room for a segment of 16,384 bytes" in str(found["message"])
    count = found["count"]
    assert isinstance(count, int)
    assert count > 5000
    assert found["series"] == [0, count - 1]
    assert found["catalogue"] == count


@pytest.mark.parametrize("error", [SegmentSpaceError(5, 3, "/dev/shm"), ReaderBusyError("orders", 7)])
def test_errors_with_figures_keep_them_through_pickle(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
