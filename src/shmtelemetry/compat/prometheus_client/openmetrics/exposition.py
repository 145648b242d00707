"""OpenMetrics of a registry."""

from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from ..exposition import generate_openmetrics as generate_latest

__all__ = ["CONTENT_TYPE_LATEST", "generate_latest"]
