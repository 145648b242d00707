"""Messages of bots, as they come over ZeroMQ: strings, JSON and msgpack, alone or in lists.

A string is `type:label:value`, with as many labels as the type has. A message of JSON or msgpack is such a string, an
object {"type", "labels", "value", "bot_id", "sequence", "timestamp"} of which only the type must be there, or an
envelope of a broker around strings and objects: {"raw", "broker_timestamp", "bot_id", "sequence"}.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import msgspec

MAX_FRAME: Final = 1 << 20  # bytes; larger ones are refused
_JSON_BEGINS: Final = b'{["'
_MSGPACK_BEGINS: Final = 0x80  # the first bytes of msgpack's maps, lists and strings are this or more, ASCII's less

Refuse = Callable[[str], object]


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One message, or an envelope around some if it has `raw`. What else an object has is passed over.

    labels: values by name, or in order. value: in the unit of its definition. timestamp: nanoseconds since the epoch.
    sequence: rising by 1 for each bot, None if messages are not numbered.
    """

    type: str = ""
    labels: dict[str, str | int] | list[str | int] = msgspec.field(default_factory=list)
    value: float = 1.0
    bot_id: str | None = None
    sequence: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    timestamp: int | None = None
    raw: "str | Message | list[str | Message] | None" = None
    broker_timestamp: int | None = None


Item = str | Message
_JSON: Final = msgspec.json.Decoder(str | Message | list[str | Message])
_JSON_ONE: Final = msgspec.json.Decoder(str | Message)
_JSON_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MSGPACK: Final = msgspec.msgpack.Decoder(str | Message | list[str | Message])
_MSGPACK_ONE: Final = msgspec.msgpack.Decoder(str | Message)
_MSGPACK_LIST: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_ENCODER: Final = msgspec.json.Encoder()


def is_text(frame: bytes) -> bool:
    """Whether a frame is one string, which is its text; not empty."""
    return frame[0] < _MSGPACK_BEGINS and frame[0] not in _JSON_BEGINS


def items(frame: bytes, refuse: Refuse) -> list[Item]:
    """What a frame that is no text consists of. One that is wrong in a list is refused alone."""
    decoder = _MSGPACK if frame[0] >= _MSGPACK_BEGINS else _JSON
    try:
        decoded: Item | list[Item] = decoder.decode(frame)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return [item for item, _ in pieces(frame, refuse)]
    return decoded if isinstance(decoded, list) else [decoded]


def pieces(frame: bytes, refuse: Refuse) -> Iterator[tuple[Item, Any]]:
    """The same with each as it came, for JSON: a broker hands on what it does not know. None: JSON cannot say it."""
    packed = frame[0] >= _MSGPACK_BEGINS
    one, several = (_MSGPACK_ONE, _MSGPACK_LIST) if packed else (_JSON_ONE, _JSON_LIST)
    try:
        is_list = frame[0] in b"\xdc\xdd" or frame[0] & 0xF0 == 0x90 if packed else frame[0] == ord("[")
        raws: list[msgspec.Raw] = several.decode(frame) if is_list else [msgspec.Raw(frame)]
    except (msgspec.DecodeError, RecursionError):
        refuse("syntax")
        return
    for raw in raws:
        try:
            item: Item = one.decode(raw)
        except (msgspec.DecodeError, RecursionError, ValueError):
            refuse("syntax")
        else:
            yield item, _unpacked(raw) if packed else raw


def _unpacked(raw: msgspec.Raw) -> Any:
    try:
        whole = msgspec.msgpack.decode(raw)
        _ENCODER.encode(whole)
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError):  # such as text that is no UTF-8
        return None
    return whole


def envelope(raw: Any, now: int, bot: str, sequence: int) -> bytes:
    """JSON. raw: text, JSON as it came, or what JSON can say. now: nanoseconds since the epoch."""
    return _ENCODER.encode({"raw": raw, "broker_timestamp": now, "bot_id": bot, "sequence": sequence})
