"""A segment is a SharedMemory to programs that know nothing of this library."""

from __future__ import annotations

import sys
from multiprocessing import shared_memory

import numpy as np

from shmtelemetry import Consumer, Producer, layout
from tests.processes import run_python

DTYPE = np.dtype([("seq", "<u8")])

READ = """
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
if sys.version_info >= (3, 13):
    memory = SharedMemory(sys.argv[1], track=False)
else:
    memory = SharedMemory(sys.argv[1])
    resource_tracker.unregister(memory._name, "shared_memory")
print(memory.size, bytes(memory.buf[:7]).decode(), *memory.buf[int(sys.argv[2]) : int(sys.argv[2]) + 24].cast("Q"))
memory.close()
"""


def test_the_standard_library_attaches_to_it_and_reads_the_records(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8) as ring:
        ring.emit_many(np.array([(5,), (6,), (7,)], DTYPE))
        segment = ring.segment
        answer = run_python(READ, segment.name, str(segment.header.ring_offset)).stdout.split()
        assert answer == [str(segment.size), "SHMTEL1", "5", "6", "7"]
        assert segment.linked
        with Consumer("orders", namespace) as consumer:
            assert len(consumer.read()) == 3


def test_a_segment_is_a_shared_memory_with_its_attributes(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8) as ring:
        segment = ring.segment
        assert isinstance(segment, shared_memory.SharedMemory)
        assert segment.name.startswith(f"shmtel.{namespace}.orders.")
        assert segment.size == len(segment.buf)
        assert int.from_bytes(segment.buf[:8], sys.byteorder) == layout.MAGIC
        assert segment.name in repr(segment)


def test_no_resource_tracker_is_ever_started(namespace: str) -> None:
    script = """
import sys
import numpy as np
from multiprocessing import resource_tracker
from shmtelemetry import Consumer, Producer
with Producer("orders", np.dtype([("seq", "<u8")]), sys.argv[1], capacity=8) as ring:
    with Consumer("orders", sys.argv[1]) as consumer:
        ring.emit_fields(1)
        assert len(consumer.read()) == 1
assert resource_tracker._resource_tracker._pid is None
"""
    run_python(script, namespace)
