"""prometheus_client's numbers as text."""

from prometheus_client.utils import INF, MINUS_INF, NaN, floatToGoString

__all__ = ["INF", "MINUS_INF", "NaN", "floatToGoString"]
