"""What is known of each symbol, from market ticks."""

from typing import Any, Final

from ...trading.schemas import MARKET_TICK
from .base import BaseCollector
from .grouped import by_label, metric_of, rounded
from .look import Look, onlooker

_UPDATES: Final = "market_data_updates_total"  # of symbols that nobody records ticks of
_FIELDS: Final = ("last_price", "bid", "ask", "volume", "trades")  # of a tick


class MarketDataCollector(BaseCollector):
    """Prices and what traded so far, by symbol: {"AAPL": {"last_price", "bid", "ask", "volume", "trades"}}.

    None is what nobody has told. look: gives the snapshot to compute from, by default that of the namespace of the
    settings.
    """

    def __init__(self, look: Look | None = None) -> None:
        super().__init__("market_data")
        self._look = look or onlooker()
        self._symbols: dict[str, None] = {}  # in order; none are all that there are

    async def add_symbol(self, symbol: str) -> None:
        """Show this symbol. The first one narrows what is shown down to those that were added."""
        if not isinstance(symbol, str) or not symbol:
            raise ValueError(f"symbol {symbol!r}: expected a string that is not empty")
        self._symbols = {**self._symbols, symbol: None}

    async def get_current_metrics(self) -> dict[str, Any]:
        snapshot = self._look()
        columns = {name: by_label(snapshot, metric_of(MARKET_TICK, name), "symbol") for name in _FIELDS}
        symbols = self._symbols or sorted({*columns["bid"], *by_label(snapshot, _UPDATES, "symbol")})
        return {symbol: {name: _figure(values.get(symbol)) for name, values in columns.items()} for symbol in symbols}


def _figure(value: float | None) -> float | int | None:
    """Without the noise of binary fractions, and whole where it is."""
    figure = rounded(value)
    return int(figure) if figure is not None and figure.is_integer() else figure
