"""OpenMetrics, written and parsed."""
