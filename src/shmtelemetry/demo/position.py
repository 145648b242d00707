"""What we hold of one instrument, and what it has earned."""

from __future__ import annotations


class Position:
    """A long (positive) or short (negative) quantity, valued at its average price.

    quantity: shares held, negative when short.
    average_price: in ticks, of the shares held; 0 when flat.
    realized: profit of what was closed, in ticks times shares.
    """

    __slots__ = ("average_price", "quantity", "realized")

    def __init__(self) -> None:
        self.quantity = 0
        self.average_price = 0.0
        self.realized = 0.0

    def apply(self, side: int, quantity: int, price: int) -> None:
        """Takes in one execution: BUY or SELL, shares, ticks."""
        signed = side * quantity
        if self.quantity * signed >= 0:
            self._open(signed, price)
            return
        closing = min(quantity, abs(self.quantity))
        # What is closed was held on the other side: a sale earns price less average, a purchase the reverse.
        self.realized += -side * closing * (price - self.average_price)
        self.quantity += side * closing
        if self.quantity == 0:
            self.average_price = 0.0
        if quantity > closing:
            self._open(side * (quantity - closing), price)

    def unrealized(self, mark: float) -> float:
        """Profit of what is held if it were closed at ``mark`` ticks, in ticks times shares."""
        return self.quantity * (mark - self.average_price)

    def _open(self, signed: int, price: int) -> None:
        held = self.quantity + signed
        self.average_price = (self.average_price * self.quantity + price * signed) / held
        self.quantity = held
