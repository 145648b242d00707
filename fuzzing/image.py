"""Coverage-guided fuzzing of what a reader does with a segment whose every byte is somebody else's.

An input says which segment of a real producer is taken, and how its bytes are changed: before the reader attaches, and
again while it drains. Any byte of the image can be reached, its file can be cut, and its catalogue can grow. Wanted: no
exception, no fault, and a producer beside it that is counted exactly.
"""

import contextlib
import os
import secrets

import atheris
from harness import NAMESPACE, SHM, forget, fuzz

with atheris.instrument_imports(include=["shmtelemetry"]):
    from shmtelemetry import Consumer, Producer, Reader, Schema, Telemetry, field, layout
    from shmtelemetry.cli.ls import describe
    from shmtelemetry.exporters.prometheus import expose
    from shmtelemetry.liveness import lock

import numpy as np

UUID, PID = layout.HEADER_OFFSETS["uuid"], layout.HEADER_OFFSETS["pid"]
RENEW = 200  # inputs after which reader and state are new
SCHEMA = Schema(
    [("who", "S3"), ("side", "i1"), ("n", "<u4"), ("at", "<u8"), ("x", "<f8"), ("y", "<f4"), ("z", "<i8")],
    {
        "who": field("label"),
        "side": field("label", values={0: "buy"}),
        "n": field("counter"),
        "at": field("time", unit="us"),
        "x": field("histogram", buckets=(1.0, 2.0)),
        "y": field("gauge"),
        "z": field("total"),
    },
)


def image_of(producer: Producer) -> bytes:
    with open(os.path.join(SHM, producer.segment.name), "rb") as file:
        return file.read()


def images() -> list[bytes]:
    """Segments with records, full cells, exemplars, retirements and a schema."""
    with Telemetry("origin", NAMESPACE, capacity=8) as telemetry:
        histogram = telemetry.histogram("h", labels=("a",), buckets=(1.0,))
        for value in range(20):
            histogram.labels(str(value % 2)).observe(value, exemplar="abc")
            telemetry.counter("c").inc(1.0, exemplar="abc")
            telemetry.gauge("g", merge="sum").set(value)
        histogram.remove("0")
        samples = image_of(telemetry._producer)
    with Producer("origin", SCHEMA, NAMESPACE, capacity=8) as ring:
        ring.emit_many(np.zeros(6, SCHEMA.dtype))
        records = image_of(ring)
    forget()
    return [samples, records]


def change(image: bytearray, data: atheris.FuzzedDataProvider) -> None:
    """Write some words, most of them into areas that are in use."""
    areas = (
        (0, layout.HEADER.size + 512),
        (layout.PAGE, 192),
        (2 * layout.PAGE, 64),
        (3 * layout.PAGE, 512),
        (4 * layout.PAGE, 4096),
        (0, len(image)),
    )
    for _ in range(data.ConsumeIntInRange(0, 8)):
        begin, length = areas[data.ConsumeIntInRange(0, len(areas) - 1)]
        stored = data.ConsumeBytes(data.ConsumeIntInRange(1, 16))
        at = begin + data.ConsumeIntInRange(0, max(0, length - 1))
        image[at : at + len(stored)] = stored[: max(0, len(image) - at)]


class Subject:
    """A reader, a producer that must not notice anything, and the bytes that are changed."""

    def __init__(self) -> None:
        self.images = images()
        self.count = 0
        self.open()

    def open(self) -> None:
        self.reader = Reader(NAMESPACE, ephemeral=True, guard=True)
        self.good = Telemetry("good", NAMESPACE, capacity=16)
        self.counter = self.good.counter("good")
        self.counted = 0

    def close(self) -> None:
        self.good.close()
        self.reader.close()

    def poll(self) -> None:
        self.counter.inc()
        self.counted += 1
        self.reader.poll()

    def take(self, stored: bytes) -> None:
        data = atheris.FuzzedDataProvider(stored)
        image = bytearray(self.images[data.ConsumeIntInRange(0, 1)])
        image[UUID : UUID + 16] = secrets.token_bytes(16)
        image[PID : PID + 8] = bytes(8)  # it lives as long as its lock is held
        if data.ConsumeBool():
            change(image, data)
        path = os.path.join(SHM, f"shmtel.{NAMESPACE}.bad.{self.count}")
        with open(path, "w+b", buffering=0) as file:
            lock(file.fileno(), layout.LOCK_PRODUCER)
            file.write(image)
            describe(os.path.basename(path))
            if data.ConsumeBool():
                with contextlib.closing(Consumer("bad", NAMESPACE)) as consumer:
                    consumer.read(4)
            self.poll()
            image[:] = os.pread(file.fileno(), len(image), 0)
            change(image, data)
            os.pwrite(file.fileno(), image, 0)
            if data.ConsumeBool():
                file.truncate(data.ConsumeIntInRange(0, len(image)))
            self.poll()
        self.poll()  # its producer is dead now
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        snapshot = self.reader.snapshot()
        assert snapshot.value("good_total") == self.counted
        expose(snapshot)
        self.count += 1
        if self.count % RENEW == 0:
            self.close()
            self.open()


fuzz(Subject().take)
