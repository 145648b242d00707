"""OpenMetrics of a registry."""

from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, escape_label_name, escape_metric_name

from ..exposition import generate_openmetrics as generate_latest

__all__ = ["CONTENT_TYPE_LATEST", "escape_label_name", "escape_metric_name", "generate_latest"]
