"""shmtelemetry: telemetry for processes that cannot afford telemetry."""

import os

from ._ring import Producer
from .consumer import Consumer
from .reader import Reader, read_state
from .schema import SAMPLE, Schema, field
from .tap import Tap
from .telemetry import Telemetry
from .version import VERSION as __version__

__all__ = [
    "SAMPLE",
    "Consumer",
    "Producer",
    "Reader",
    "Schema",
    "Tap",
    "Telemetry",
    "__version__",
    "field",
    "get_include",
    "read_state",
]


def get_include() -> str:
    """The folder of shmtelemetry.h, for producers in C, C++ and Cython."""
    return os.path.join(os.path.dirname(__file__), "include")
