"""prometheus_client's samples."""

from prometheus_client.samples import BucketSpan, Exemplar, NativeHistogram, Sample, Timestamp

__all__ = ["BucketSpan", "Exemplar", "NativeHistogram", "Sample", "Timestamp"]
