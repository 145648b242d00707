"""Rings of records, ready at import and opened at their first use."""

from typing import Final

from .ready import ring
from .schemas import MARKET_TICK, ORDER, STRATEGY, SYSTEM_SAMPLE, TRADE

MARKET_TICKS: Final = ring("ticks", MARKET_TICK, 16_384)
ORDERS: Final = ring("orders", ORDER, 8_192)
TRADES: Final = ring("trades", TRADE, 8_192)
STRATEGIES: Final = ring("strategies", STRATEGY, 8_192)
SYSTEM_SAMPLES: Final = ring("samples", SYSTEM_SAMPLE, 1_024)
