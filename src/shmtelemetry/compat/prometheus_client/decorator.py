"""prometheus_client's copy of the decorator module."""

from prometheus_client.decorator import contextmanager, decorate, decorator, dispatch_on

__all__ = ["contextmanager", "decorate", "decorator", "dispatch_on"]
