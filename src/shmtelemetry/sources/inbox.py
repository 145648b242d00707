"""Frames as they come: opened, and each message in them to where its route says."""

import math
from typing import Any

from . import messages
from .broker import Forwarder
from .definitions import Definitions, Destination
from .intake import Refused
from .messages import Item, Message
from .recorder import Bot, Recorder


class Inbox:
    """own: the bot whose messages do not say which one sent them. Without a route all messages go into the ring, or,
    if there is a forwarder, to that alone: what it hands on is counted where it arrives."""

    def __init__(self, recorder: Recorder, definitions: Definitions, own: str, forwarder: Forwarder | None) -> None:
        self._recorder, self._intake, self._forwarder = recorder, recorder.intake, forwarder
        self._own = recorder.bot(own)
        self._default: tuple[Destination, ...] = ("ring",) if forwarder is None else ("forward",)
        self.define(definitions)

    def define(self, definitions: Definitions) -> None:
        """From now on messages mean this, and go there."""
        self._definitions = definitions
        self._routing = bool(definitions.routes) or self._forwarder is not None

    def take(self, frame: bytes) -> int:
        """How many of a frame's messages were taken; what was not is counted by its reason."""
        if len(frame) > messages.MAX_FRAME:
            return self._refuse("size")
        if not frame:
            return self._refuse("syntax")
        if messages.is_text(frame):
            try:
                text = frame.decode()
            except UnicodeDecodeError:
                return self._refuse("encoding")
            return self._message(self._own, text, text)
        if self._routing:
            return sum([self._open(item, raw) for item, raw in messages.pieces(frame, self._refuse)])
        return sum([self._open(item, item) for item in messages.items(frame, self._refuse)])

    def _refuse(self, reason: str) -> int:
        self._intake.reject(reason)
        return 0

    def _open(self, item: Item, raw: Any) -> int:
        """Take a message, or those in an envelope."""
        if isinstance(item, str):
            return self._message(self._own, item, raw)
        try:
            bot = self._recorder.bot(item.bot_id) if item.bot_id is not None else self._own
            if item.sequence is not None:
                self._recorder.number(bot, item.sequence)
        except Refused as refused:
            return self._refuse(str(refused))
        if item.raw is None:
            return self._message(bot, item, raw)
        inner = item.raw if isinstance(item.raw, list) else [item.raw]
        return sum([self._message(bot, each, each) for each in inner])

    def _message(self, bot: Bot, item: Item, raw: Any) -> int:
        try:
            if self._routing:
                self._route(bot, item, raw)
            else:
                self._record(bot, item)
        except Refused as refused:
            return self._refuse(str(refused))
        return 1

    def _record(self, bot: Bot, item: Item) -> None:
        if isinstance(item, str):
            self._recorder.text(bot, item)
        else:
            self._recorder.message(bot, item)

    def _route(self, bot: Bot, item: Item, raw: Any) -> None:
        kind = item.type if isinstance(item, Message) else item.partition(":")[0]
        destinations = self._definitions.route(bot.name, kind, self._default)
        if not destinations:
            raise Refused("route")
        if "ring" in destinations:
            self._record(bot, item)
        if "forward" in destinations:
            if self._forwarder is None:
                raise Refused("no_forward")
            if raw is None or (isinstance(item, Message) and not math.isfinite(item.value)):
                raise Refused("value")  # JSON, in which messages are handed on, cannot say it
            self._forwarder.send(bot, raw)
