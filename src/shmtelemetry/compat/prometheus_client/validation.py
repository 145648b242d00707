"""prometheus_client's rules for names, and which of them apply."""

from prometheus_client.validation import (
    METRIC_LABEL_NAME_RE,
    METRIC_NAME_RE,
    RESERVED_METRIC_LABEL_NAME_RE,
    disable_legacy_validation,
    enable_legacy_validation,
    get_legacy_validation,
)

__all__ = [
    "METRIC_LABEL_NAME_RE",
    "METRIC_NAME_RE",
    "RESERVED_METRIC_LABEL_NAME_RE",
    "disable_legacy_validation",
    "enable_legacy_validation",
    "get_legacy_validation",
]
