"""History: what figures were, and the events themselves, for whoever asks."""

from .history import History
from .trouble import trouble
from .writer import HistoryWriter, Retention

__all__ = ["History", "HistoryWriter", "Retention", "trouble"]
