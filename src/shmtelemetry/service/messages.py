"""What is said over a WebSocket, in both directions. Every message in JSON has a type and a timestamp."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from .ticks import Tick, encode, now

ALERTS: Final = "alerts"  # the topic beside those that are sections of an update
MARKET_DATA: Final = "market_data"
MAX_NAMES: Final = 1000  # of topics, and of symbols, in one subscription

_Names = Annotated[list[Annotated[str, msgspec.Meta(max_length=128)]], msgspec.Meta(max_length=MAX_NAMES)]


class Ping(msgspec.Struct, tag="ping", tag_field="type"):
    """Asks for a pong. Fields of its own are ignored, such as a client's timestamp."""


class Subscribe(msgspec.Struct, tag="subscribe", tag_field="type", forbid_unknown_fields=True):
    """From now on these topics, and of market data these symbols; None is all of them."""

    topics: _Names | None = None
    symbols: _Names | None = None


class Unsubscribe(msgspec.Struct, tag="unsubscribe", tag_field="type", forbid_unknown_fields=True):
    """Nothing from now on but signs of life."""


Asked = Ping | Subscribe | Unsubscribe

_decoder: Final[msgspec.json.Decoder[Asked]] = msgspec.json.Decoder(Asked)


def read(text: str) -> Asked:
    """A client's message. Raises ValueError, which says what was expected."""
    try:
        return _decoder.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@dataclass(frozen=True, slots=True)
class Subscription:
    """topics, symbols: None is all of them. Clients of equal ones share each message."""

    topics: frozenset[str] | None = None
    symbols: frozenset[str] | None = None

    @classmethod
    def of(cls, asked: Subscribe | Unsubscribe) -> "Subscription":
        if isinstance(asked, Unsubscribe):
            return cls(frozenset())
        return cls(*(None if names is None else frozenset(names) for names in (asked.topics, asked.symbols)))

    def wants(self, topic: str) -> bool:
        return self.topics is None or topic in self.topics

    def beyond(self, topics: Collection[str]) -> list[str]:
        """Its topics that are none of these."""
        return sorted((self.topics or frozenset()).difference(topics))

    @property
    def wants_updates(self) -> bool:
        return self.topics is None or bool(self.topics - {ALERTS})

    def said(self) -> dict[str, Any]:
        names = {"topics": self.topics, "symbols": self.symbols}
        return {name: None if some is None else sorted(some) for name, some in names.items()}


def message(type: str, **said: Any) -> str:
    return encode({"type": type, "timestamp": now(), **said}).decode()


def update(tick: Tick, previous: int, subscription: Subscription) -> str:
    """The update of a tick that a subscription asks for: its sections under flat keys.

    previous: number of the tick that was sent before, 0 for none.
    """
    return tick.encoded((subscription, previous), lambda tick: _update(tick, previous, subscription)).decode()


def _update(tick: Tick, previous: int, subscription: Subscription) -> dict[str, Any]:
    sections = {topic: section for topic, section in tick.sections.items() if subscription.wants(topic)}
    if subscription.symbols is not None and MARKET_DATA in sections:
        chosen = subscription.symbols
        sections[MARKET_DATA] = {symbol: of for symbol, of in sections[MARKET_DATA].items() if symbol in chosen}
    return {
        "type": "metrics_update",
        "timestamp": tick.timestamp,
        "sequence": tick.number,
        "previous": previous,
        **sections,
    }
