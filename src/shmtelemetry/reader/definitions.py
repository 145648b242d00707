"""Which metrics a segment defines, for those who only look at it."""

from .. import layout
from ..errors import SegmentError
from ..metric import Metric
from ..segment import Segment
from .attachment import catalogue_record


def definitions(segment: Segment) -> list[Metric]:
    """All of them so far, in order. Raises SegmentError for a description that cannot be used."""
    try:
        if not segment.header.flags & layout.FLAG_INSTRUMENTS:
            return [metric for metric, _, _ in segment.schema.metrics(segment.producer).values()]
        return _of_catalogue(segment)
    except (ValueError, TypeError) as error:
        raise SegmentError(f"{segment.name}: a metric that cannot be: {error}") from error


def _of_catalogue(segment: Segment) -> list[Metric]:
    found, at, stored = [], 0, segment.catalogue()
    while at < len(stored):
        kind, _, payload, size = catalogue_record(segment.name, stored, at)
        if kind == layout.KIND_METRIC:
            found.append(Metric.from_json(payload))
        at += size
    return found
