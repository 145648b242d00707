"""The types of io.prometheus.client, made by the official protobuf runtime, and what they read.

Names, numbers and types of the fields: https://github.com/prometheus/client_model/blob/v0.6.2/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, proto, timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as FieldType

PACKAGE = "io.prometheus.client"
FIELDS = {
    "LabelPair": "1 string name, 2 string value",
    "Gauge": "1 double value",
    "Counter": "1 double value, 2 Exemplar exemplar, 3 Timestamp created_timestamp",
    "Histogram": "1 uint64 sample_count, 2 double sample_sum, 3 Bucket* bucket, 5 sint32 schema, "
    "6 double zero_threshold, 7 uint64 zero_count, 9 BucketSpan* negative_span, 10 sint64* negative_delta, "
    "12 BucketSpan* positive_span, "
    "13 sint64* positive_delta, 15 Timestamp created_timestamp, 16 Exemplar* exemplars",
    "Bucket": "1 uint64 cumulative_count, 2 double upper_bound, 3 Exemplar exemplar",
    "BucketSpan": "1 sint32 offset, 2 uint32 length",
    "Exemplar": "1 LabelPair* label, 2 double value, 3 Timestamp timestamp",
    "Metric": "1 LabelPair* label, 2 Gauge gauge, 3 Counter counter, 7 Histogram histogram",
    "MetricFamily": "1 string name, 2 string help, 3 MetricType type, 4 Metric* metric, 5 string unit",
}
TYPES = {0: "counter", 1: "gauge", 2: "summary", 3: "untyped", 4: "histogram", 5: "gauge_histogram"}


def _types() -> type[Any]:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package=PACKAGE, syntax="proto2")
    file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    kinds = file.enum_type.add(name="MetricType")
    for number, name in TYPES.items():
        kinds.value.add(name=name.upper(), number=number)
    for message, fields in FIELDS.items():
        described = file.message_type.add(name=message)
        for number, kind, name in (field.split() for field in fields.split(", ")):
            label = FieldType.LABEL_REPEATED if kind.endswith("*") else FieldType.LABEL_OPTIONAL
            described.field.add(name=name, number=int(number), label=label, **_type(kind.rstrip("*")))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb))
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.MetricFamily"))


def _type(kind: str) -> dict[str, Any]:
    if kind in ("double", "string", "uint32", "uint64", "sint32", "sint64"):
        return {"type": getattr(FieldType, f"TYPE_{kind.upper()}")}
    if kind == "MetricType":
        return {"type": FieldType.TYPE_ENUM, "type_name": f".{PACKAGE}.{kind}"}
    package = "google.protobuf" if kind == "Timestamp" else PACKAGE
    return {"type": FieldType.TYPE_MESSAGE, "type_name": f".{package}.{kind}"}


MetricFamily = _types()


def read_delimited(body: bytes) -> list[Any]:
    """The families of an exposition. Raises what the runtime raises for bytes that are none."""
    stream, families = BytesIO(body), []
    while (family := proto.parse_length_prefixed(MetricFamily, stream)) is not None:
        families.append(family)
    return families


def native_counts(histogram: Any, sign: str = "positive") -> dict[int, int]:
    """Index → count of the buckets of a native histogram, from its spans and deltas."""
    spans, deltas = getattr(histogram, f"{sign}_span"), list(getattr(histogram, f"{sign}_delta"))
    counts: dict[int, int] = {}
    index, count = 0, 0
    for span in spans:
        index += span.offset
        for _ in range(span.length):
            count += deltas.pop(0)
            counts[index] = count
            index += 1
    assert not deltas, "counts beyond the spans"
    return counts
