"""Collectors: what a service says of market data, strategies, execution and the system, and of what users add."""

from .base import BaseCollector, History, register
from .execution import ExecutionCollector
from .found import standard
from .group import Answer, Collectors
from .market_data import MarketDataCollector
from .strategy import StrategyCollector
from .system import SystemCollector

__all__ = [
    "Answer",
    "BaseCollector",
    "Collectors",
    "ExecutionCollector",
    "History",
    "MarketDataCollector",
    "StrategyCollector",
    "SystemCollector",
    "register",
    "standard",
]
