"""The observability service: REST and WebSocket over what the reader of a namespace has aggregated."""
