"""prometheus_client's collector, in this package's registry."""

from prometheus_client.platform_collector import PlatformCollector

from .registry import REGISTRY

__all__ = ["PLATFORM_COLLECTOR", "PlatformCollector"]

PLATFORM_COLLECTOR = PlatformCollector(registry=REGISTRY)
