"""prometheus_client's parser of OpenMetrics."""

from prometheus_client.openmetrics.parser import text_fd_to_metric_families, text_string_to_metric_families

__all__ = ["text_fd_to_metric_families", "text_string_to_metric_families"]
