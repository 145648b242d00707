"""The reader: drains a namespace's rings into its state."""

from .onlooker import Onlooker
from .reader import Reader, read_state

__all__ = ["Onlooker", "Reader", "read_state"]
