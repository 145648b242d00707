"""prometheus_client's collector, in this package's registry."""

from prometheus_client.gc_collector import GCCollector

from .registry import REGISTRY

__all__ = ["GC_COLLECTOR", "GCCollector"]

GC_COLLECTOR = GCCollector(registry=REGISTRY)
