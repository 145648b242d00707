"""prometheus_client's parser of the text format."""

from prometheus_client.parser import (
    parse_labels,
    replace_escape_sequence,
    text_fd_to_metric_families,
    text_string_to_metric_families,
)

__all__ = ["parse_labels", "replace_escape_sequence", "text_fd_to_metric_families", "text_string_to_metric_families"]
