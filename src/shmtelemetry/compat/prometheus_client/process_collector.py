"""prometheus_client's collector, in this package's registry."""

from prometheus_client.process_collector import ProcessCollector

from .registry import REGISTRY

__all__ = ["PROCESS_COLLECTOR", "ProcessCollector"]

PROCESS_COLLECTOR = ProcessCollector(registry=REGISTRY)
