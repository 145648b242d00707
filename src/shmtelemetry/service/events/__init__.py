"""Events: the records themselves of rings whose schema says events=True, exactly once each."""

from .store import EventStore

__all__ = ["EventStore"]
