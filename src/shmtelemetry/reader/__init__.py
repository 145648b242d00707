"""The reader: drains a namespace's rings into its state."""

from .reader import Reader, read_state

__all__ = ["Reader", "read_state"]
