"""The keeper's work: find segments, give series their places, end what is dead.

A ring that needs it waits for it alone, all others go on.
"""

import logging
import os
import time

from .. import layout
from ..aggregate.series import SLOT_ASIDE, SLOT_ENDED, SLOTS
from ..aggregate.state import State
from ..errors import ReaderBusyError, SegmentError, StateError, one_line
from ..recordings import is_recording, unlink_surplus
from ..segment import DIRECTORY, Segment, attach, log_context, segment_names
from ..segment_header import header_uuids
from ._agent import Agent
from ._rings import Status
from .attachment import Attachment, release
from .discovery import Discovery
from .feed import Feed
from .heirs import TooEarlyError, elder_of

logger = logging.getLogger("shmtelemetry")

PATIENCE = 60.0  # seconds that the segment of an ended producer waits for an event store that does not take its rest
ROOM = 128 * 1024  # bytes of the state that are kept free, so that the loop seldom has to wait for more


class Keeper:
    """What of a reader needs Python. One thread at a time may call it."""

    def __init__(
        self, namespace: str, state: State, agent: Agent, allow_uids: frozenset[int], feed: Feed | None = None
    ) -> None:
        self._state, self._agent, self._allow_uids, self._feed = state, agent, allow_uids, feed
        self._discovery = Discovery(namespace)
        self._attachments: dict[int, Attachment] = {}  # by number of the ring
        self._ended: list[tuple[Segment, float]] = []  # whose events are not all stored, and for how long they may stay
        self._staying: dict[bytes, str] = {}  # uuid → name, of ended ones that are in the state and not removed
        self._early: set[str] = set()  # names of heirs that wait for the segment before them
        self._served = -1  # Agent.wanted when everything that rings wanted was done
        self._checked = 0
        self._fold_orphans(namespace)

    def _fold_orphans(self, namespace: str) -> None:
        """Segments that are in the state and no longer in /dev/shm: their figures are what is left of them."""
        found = [header_uuids(f"{DIRECTORY}/{name}") for name in segment_names(namespace)]
        there = {uuid for uuid, _ in found}
        self._state.parts.keep_only({family for _, family in found})
        for uuid, slot in list(self._state.segments.items()):
            if uuid not in there:
                if self._state.slot_status(slot) != SLOT_ENDED:
                    self._agent.fold_orphan(self._state.place(SLOTS, slot))
                self._state.free_slot(uuid)

    def look_now(self) -> None:
        """Whatever round begins from now on finds every segment that there is."""
        self._discovery.look_now()

    def attend(self) -> None:
        """One round: new segments, and what rings wait for."""
        for name in self._discovery.new_names():
            self._adopt(name)
        if self._discovery.gone:
            self._notice_removed(self._discovery.gone)
        self._state.lives.gathered()
        wanted = self._agent.wanted
        if wanted != self._served and all(self._serve_all()):
            self._served = wanted
        self._end_stored()
        self._show_aside()
        self._make_room()

    def serve(self) -> bool:
        """Do what rings and exemplars wait for; returns whether any of them can go on now."""
        served = any(self._serve_all())
        return self._make_room() or served

    def _serve_all(self) -> list[bool]:
        return [self._serve(number) for number in self._agent.wanting_rings()]

    def check_all(self) -> None:
        """Find the dead among all producers."""
        self.check(self._agent.count)

    def check(self, count: int, quiet: int = 0) -> None:
        """Find the dead among the producers of the next `count` rings, and of at most `quiet` that fell quiet."""
        count = min(count, self._agent.count)
        end = self._checked + count
        beyond = max(0, end - self._agent.count)
        suspects = self._agent.suspects(self._checked, count) + self._agent.suspects(0, beyond)
        for number in suspects + self._agent.quiet_suspects(quiet):
            if not self._attachments[number].segment.alive():
                self._agent.end(number)
        self._checked = beyond or end
        self._state.lives.expire()

    def settled(self) -> bool:
        """Whether all that are left are alive."""
        early = any(os.path.lexists(os.path.join(DIRECTORY, name)) for name in self._early)
        return (
            not early
            and not self._ended
            and all(attachment.segment.alive() for attachment in self._attachments.values())
        )

    def release(self) -> None:
        """Leave all segments to the next reader."""
        for number in list(self._attachments):
            self._attachments[number].release()
            self._forget(number)
        for segment, _ in self._ended:
            release(segment)
            segment.close()

    def _adopt(self, name: str) -> None:
        """Begin to drain a segment, or leave it aside with one line in the log."""
        try:
            segment = attach(name, layout.ROLE_READER, self._allow_uids)
        except ReaderBusyError:
            self._discovery.put_aside(name, "foreign")
        except Exception as error:  # whatever lies there costs nobody else anything
            if os.path.lexists(os.path.join(DIRECTORY, name)):
                self._quarantine(name, error)
        else:
            self._attach(name, segment)

    def _quarantine(self, name: str, error: Exception) -> None:
        said = one_line(error)
        logger.warning("left aside: %s", said if name in said else f"{name}: {said}", extra=log_context(name))
        self._discovery.put_aside(name, "quarantined")
        self._show_aside()

    def _show_aside(self) -> None:
        aside = self._discovery.aside
        self._state.set_figures(aside("foreign"), aside("quarantined"), aside("retired"))
        if self._feed is not None:
            self._show_events(self._feed)

    def _show_events(self, feed: Feed) -> None:
        totals, waiting = feed.figures()
        if totals is not None:
            self._state.put("events", totals.stored)
            self._state.put("events_let_go", totals.let_go)
        self._state.put("events_waiting", waiting)

    def _attach(self, name: str, segment: Segment) -> None:
        uuid = segment.header.uuid
        self._early.discard(name)
        slot = self._state.segments.get(uuid)
        events = self._feed is not None and segment.schema.events
        if slot is not None and self._state.slot_status(slot) == SLOT_ENDED:
            if events:
                self._feed_events(segment, None, int(self._state.entry(SLOTS, slot)["position"]))
            self._end(segment)  # folded by a reader that was killed before it could unlink it
            return
        try:
            elder = elder_of(segment, self._state, self._discovery) if slot is None else None
            if slot is not None and any(attachment.slot == slot for attachment in self._attachments.values()):
                raise SegmentError(f"{name}: a copy of another segment")
            attachment = Attachment(self._agent, self._state, segment, slot, events, elder)
        except TooEarlyError:
            self._early.add(name)
            self._discovery.forget(name)
            segment.close()
            return
        except StateError as error:
            self._wait_for_memory(error)
            self._discovery.forget(name)
            segment.close()
            return
        except Exception as error:  # whatever a description leads to costs its own segment alone
            self._quarantine(name, error)
            segment.close()
            return
        attachment.begin()
        self._attachments[attachment.number] = attachment
        self._state.parts.join(segment.header.catalogue_of)
        if events:
            self._feed_events(segment, attachment.number)
        self._agent.start(attachment.number)

    def _feed_events(self, segment: Segment, number: int | None, end: int = 0) -> None:
        assert self._feed is not None
        try:
            self._feed.add(segment, number, end)
        except (SegmentError, OSError) as error:  # it was removed just now, or there is no memory to map it once more
            logger.warning("events are left aside: %s", one_line(error), extra=log_context(segment.name))
            if number is not None:
                self._agent.let_go(number)

    def _notice_removed(self, names: set[str]) -> None:
        """Somebody removed what a living producer writes to: we go on, and nobody else finds it."""
        for number, attachment in self._attachments.items():
            segment = attachment.segment
            if segment.name in names and segment.alive():
                self._agent.let_fill(number)
                is_recorder = segment.header.policy == layout.POLICIES["overwrite_oldest"]
                then = "restart it" if is_recorder else "it makes another when its ring is full"
                logger.warning(
                    "somebody removed %s under its producer, process %d: %s", segment.name, segment.header.pid, then,
                    extra=log_context(segment.name),
                )  # fmt: skip

    def _serve(self, number: int) -> bool:
        """Do what a ring waits for; False if it has to wait on, for memory."""
        attachment, status = self._attachments[number], self._agent.status(number)
        try:
            if status == Status.LIES:
                attachment.segment.check_whole()
                raise SegmentError(f"{attachment.segment.name}: its positions or figures cannot be")
            if status == Status.EMPTY:
                if self._learn_rest(attachment):
                    self._agent.start(number)  # and will be here again, when others were
                else:
                    self._agent.fold(number)
            elif status == Status.ENDED:
                attachment.end()
                self._end(self._detach(number))
            else:
                if status == Status.WANT_SPACE:
                    self._state.grow()
                else:
                    attachment.resolve()
                self._agent.start(number)
        except StateError as error:
            self._wait_for_memory(error)
            return False
        except Exception as error:
            self._quarantine(attachment.segment.name, error)
            self._state.set_slot_status(attachment.slot, SLOT_ASIDE)
            attachment.end()
            self._forget(number)
            if self._feed is not None:
                self._feed.forget(attachment.segment.header.uuid)
        return True

    def _make_room(self) -> bool:
        """Grow the state if little of it is free; returns whether it has grown."""
        if self._state.get("size") - self._state.get("allocated") >= ROOM:
            return False
        try:
            self._state.grow()
        except StateError as error:
            self._wait_for_memory(error)
            return False
        return True

    def _wait_for_memory(self, error: StateError) -> None:
        """Rings that need more of it wait, each for itself, and are tried again in every round."""
        self._state.warn_once("memory", f"records stay in their rings: {error}")

    def _end(self, segment: Segment) -> None:
        """All of an ended segment is in the state: it goes, and where it has events as soon as they are stored too."""
        self._state.parts.retire(segment.header.catalogue_of)
        if self._feed is not None and self._feed.lacks(segment.header.uuid):
            self._ended.append((segment, time.monotonic() + PATIENCE))
        else:
            self._remove(segment)
            segment.close()

    def _end_stored(self) -> None:
        """Remove those whose events are stored by now, and those that have waited for too long."""
        if self._feed is None:
            return
        ended, self._ended = self._ended, []
        for segment, until in ended:
            uuid = segment.header.uuid
            if self._feed.lacks(uuid) and time.monotonic() < until:
                self._ended.append((segment, until))
                continue
            self._feed.forget(uuid)
            self._remove(segment)
            segment.close()

    def _remove(self, segment: Segment) -> None:
        if is_recording(segment):
            segment.mapping.store(segment.header.reader_offset + layout.READER_ROLE, layout.ROLE_NOBODY)
            unlink_surplus(segment.namespace, segment.producer)
            self._stays(segment)
            return
        try:
            segment.unlink()
        except OSError as error:  # another user's file in a sticky directory, who finds the mark
            segment.mapping.store(segment.header.reader_offset + layout.READER_ROLE, layout.ROLE_RETIRED)
            logger.warning(
                "%s is drained and cannot be removed: %s", segment.name, error.strerror, extra=log_context(segment.name)
            )
            self._discovery.put_aside(segment.name, "retired")
            self._stays(segment)
        else:
            self._state.free_slot(segment.header.uuid)

    def _stays(self, segment: Segment) -> None:
        """Its slot goes on saying that it is folded, as long as it is there."""
        self._staying[segment.header.uuid] = segment.name
        for uuid, name in list(self._staying.items()):
            if not os.path.lexists(os.path.join(DIRECTORY, name)):
                del self._staying[uuid]
                self._state.free_slot(uuid)

    def _learn_rest(self, attachment: Attachment) -> bool:
        """Definitions that no record has needed may have cells; returns whether there are more."""
        try:
            return attachment.learn()
        except StateError:
            raise
        except Exception as error:
            logger.warning("cells are lost: %s", one_line(error))
            return False

    def _detach(self, number: int) -> Segment:
        segment = self._attachments.pop(number).segment
        self._state.parts.leave(segment.header.catalogue_of)
        if self._feed is not None:
            self._feed.leave(segment.header.uuid)
        self._agent.remove(number)
        return segment

    def _forget(self, number: int) -> None:
        self._detach(number).close()
