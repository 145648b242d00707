"""Records of one's own from C: schemas, policies, and what a full /dev/shm says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Consumer, Reader, Schema, Tap, field
from shmtelemetry.recordings import KEPT
from shmtelemetry.segment import attach, segment_names
from tests.native import driver
from tests.peers import with_small_shm

PAIR = "16 seq:u:0:8 value:f:8:8"
DROP_NEWEST, OVERWRITE_OLDEST = 0, 2


def test_a_schema_of_c_is_the_one_of_python(namespace: str, c_driver: Path) -> None:
    dtype = np.dtype({
        "names": ["ts", "symbol", "side", "ok", "ns", "qty", "total", "level", "note"],
        "formats": ["<i8", "S8", "u1", "?", "<u4", "<u2", "<f8", "<f4", "S3"],
        "offsets": [0, 8, 16, 17, 20, 24, 32, 40, 44], "itemsize": 48,
    })  # fmt: skip
    schema = Schema(dtype, {
        "ts": field("time", unit="us"), "symbol": field("label"), "side": field("label"),
        "ns": field("histogram", name="order_latency_seconds", unit="ns"), "qty": field("counter"),
        "total": field("total", name="bytes_sent_bytes", unit="bytes"), "level": field("gauge"),
        "note": field("attribute"),
    })  # fmt: skip
    with driver(c_driver) as c:
        answer = c.say(
            f"records orders {namespace} 64 0 48 ts:i:0:8:time::us symbol:S:8:8:label side:u:16:1:label ok:b:17:1 "
            "ns:u:20:4:histogram:order_latency_seconds:ns qty:u:24:2:counter "
            "total:f:32:8:total:bytes_sent_bytes:bytes level:f:40:4:gauge note:S:44:3:attribute"
        )
        assert answer == "0"
        (segment,) = map(attach, segment_names(namespace))
        assert segment.schema == schema
        segment.close()
        with Reader(namespace, ephemeral=True) as reader:
            assert c.say("record 7 5 48") == "5"
            reader.poll()
            assert reader.snapshot().histogram("order_latency_seconds", symbol="", side="0").count == 5
            c.say("close")
            reader.poll()


@pytest.mark.parametrize(("schema", "error"), [
    ("8", -4), ("0 a:u:0:8", -4), ("65537 a:u:0:8", -4), ("8 a:u:0:16", -4), ("8 a:u:1:8", -4), ("8 a:u:0:3", -4),
    ("8 a:f:0:2", -4), ("8 a:b:0:2", -4), ("8 a:x:0:8", -4), ("8 a:S:0:0", -4), ("8 a:u:0:4 a:u:4:4", -4),
    ("8 a:u:0:8:nothing", -4), ("8 a:u:0:4:time", -4), ("8 a:f:0:8:time", -4), ("16 a:u:0:8:time b:u:8:8:time", -4),
    ("8 a:u:0:8:time::bytes", -4), ("8 a:f:0:8:label", -4), ("8 a:S:0:8:counter", -4), ("8 :u:0:8", -4),
    ("8 a:u:0:8:counter:1st", -3), ("8 a:u:0:8:counter:a_seconds:bytes", -3), ("8 a:u:0:8:counter::parsec", -3),
    ("8 le:u:0:4:label b:u:4:4:histogram", -3), ("8 a:u:0:4:counter:x b:u:4:4:counter:x_total", -5),
    (" ".join(["64", *(f"f{n}:u:{n}:1:gauge" for n in range(17))]), -4), ("5000 a:S:0:5000:label", -4),
])  # fmt: skip
def test_a_schema_that_no_reader_would_take_is_refused(
    namespace: str, c_driver: Path, schema: str, error: int
) -> None:  # fmt: skip
    with driver(c_driver) as c:
        assert int(c.say(f"records orders {namespace} 64 0 {schema} ")) == error
        assert c.say("record 0 3 8") == "0"
        assert list(segment_names(namespace)) == []


def test_a_full_ring_drops_the_newest_and_counts_them(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c, Consumer("orders", namespace) as consumer:
        assert c.say(f"records orders {namespace} 16 {DROP_NEWEST} {PAIR}") == "0"
        assert c.say("record 0 20 16") == "16"
        assert consumer.read()["seq"].tolist() == list(range(16))
        assert c.say("record 20 3 16") == "3"
        assert consumer.read()["seq"].tolist() == [20, 21, 22]
        assert c.say("record 0 2 8") == "0"
        assert c.stats() == {"attempted": 25, "consumed": 19, "in_ring": 0, "coalesced": 0, "dropped_full": 4,
                             "dropped_no_ring": 0, "overwritten": 0, "rejected": 2}  # fmt: skip
        c.say("close")


def test_overwriting_takes_every_record_and_the_last_ones_stay_after_its_end(namespace: str, c_driver: Path) -> None:
    with driver(c_driver) as c, Tap("orders", namespace) as tap:
        assert c.say(f"records orders {namespace} 16 {OVERWRITE_OLDEST} {PAIR}") == "0"
        assert c.say("record 0 100 16") == "100"
        assert tap.read()["seq"].tolist() == list(range(84, 100))
        figures = c.stats()
        assert (figures["in_ring"], figures["overwritten"]) == (16, 84)
        c.say("close")
    with Consumer("orders", namespace) as consumer:
        assert consumer.read()["seq"].tolist() == list(range(84, 100))
    assert len(list(segment_names(namespace))) == 1
    remove(namespace)


def test_of_many_recordings_the_newest_four_stay(namespace: str, c_driver: Path) -> None:
    kept = []
    for run in range(KEPT + 3):
        with driver(c_driver) as c:
            assert c.say(f"records orders {namespace} 16 {OVERWRITE_OLDEST} {PAIR}") == "0"
            assert c.say(f"record {100 * run} 5 16") == "5"
            kept = [*kept, *(name for name in segment_names(namespace) if name not in kept)]
            if run % 2:  # the others end as if they had been killed
                c.say("close")
    with driver(c_driver) as c:
        assert c.say(f"records orders {namespace} 16 {OVERWRITE_OLDEST} {PAIR}") == "0"
        c.say("close")
    assert sorted(segment_names(namespace)) == sorted(kept[-KEPT:])
    remove(namespace)


def remove(namespace: str) -> None:
    for name in list(segment_names(namespace)):
        segment = attach(name)
        segment.unlink()
        segment.close()


def test_a_small_dev_shm_is_one_clear_error_and_nothing_is_left(c_driver: Path) -> None:
    script = """
import os, subprocess, sys
lines = "open a x 65536\\nopen b x 8192\\nadd counter c - - - -\\nemit 0 1 9000\\nopen d x 65536\\nclose\\n"
done = subprocess.run([sys.argv[1]], input=lines, capture_output=True, text=True)
print(done.stdout.split(), done.returncode, len(os.listdir("/dev/shm")))
"""
    done = with_small_shm("1m", script, str(c_driver))
    # The last opening failed, so that it took the place of b, which the end of the process leaves to a reader.
    assert done.stdout == "['-6', '0', '0', '0', '9000', '-6', '0'] 0 1\n", done.stderr
