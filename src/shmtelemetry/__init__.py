"""shmtelemetry: telemetry for processes that cannot afford telemetry."""

from ._ring import Producer
from .schema import SAMPLE, Schema, field
from .telemetry import Telemetry

__all__ = ["SAMPLE", "Producer", "Schema", "Telemetry", "field"]
