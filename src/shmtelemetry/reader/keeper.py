"""The keeper's work: find segments, give series their places, end what is dead.

A ring that needs it waits for it alone, all others go on.
"""

import logging
import os

from .. import layout
from ..aggregate.series import SLOT_ASIDE, SLOT_ENDED, SLOTS
from ..aggregate.state import State
from ..errors import ReaderBusyError, SegmentError, StateError, one_line
from ..recordings import is_recording, unlink_surplus
from ..segment import DIRECTORY, Segment, attach, header_uuid, segment_names
from ._agent import Agent, Status
from .attachment import Attachment
from .discovery import Discovery

logger = logging.getLogger("shmtelemetry")

ROOM = 128 * 1024  # bytes of the state that are kept free, so that the loop seldom has to wait for more


class Keeper:
    """What of a reader needs Python. One thread at a time may call it."""

    def __init__(self, namespace: str, state: State, agent: Agent, allow_uids: frozenset[int]) -> None:
        self._state, self._agent, self._allow_uids = state, agent, allow_uids
        self._discovery = Discovery(namespace)
        self._attachments: dict[int, Attachment] = {}  # by number of the ring
        self._recordings: dict[bytes, str] = {}  # uuid → name, of those that are in the state and stay
        self._served = -1  # Agent.wanted when everything that rings wanted was done
        self._checked = 0
        self._fold_orphans(namespace)

    def _fold_orphans(self, namespace: str) -> None:
        """Segments that are in the state and no longer in /dev/shm: their figures are what is left of them."""
        there = {header_uuid(name) for name in segment_names(namespace)}
        for uuid, slot in list(self._state.segments.items()):
            if uuid not in there:
                if self._state.slot_status(slot) != SLOT_ENDED:
                    self._agent.fold_orphan(self._state.place(SLOTS, slot))
                self._state.parts.retire(uuid)
                self._state.free_slot(uuid)

    def look_now(self) -> None:
        """Whatever round begins from now on finds every segment that there is."""
        self._discovery.look_now()

    def attend(self) -> None:
        """One round: new segments, and what rings wait for."""
        for name in self._discovery.new_names():
            self._adopt(name)
        self._state.lives.gathered()
        wanted = self._agent.wanted
        if wanted != self._served and all(self._serve_all()):
            self._served = wanted
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
        self._checked = 0
        self.check(self._agent.count)

    def check(self, count: int, quiet: int = 0) -> None:
        """Find the dead among the producers of the next `count` rings, and of at most `quiet` that fell quiet."""
        if self._checked >= self._agent.count:
            self._checked = 0
        for number in self._agent.suspects(self._checked, count) + self._agent.quiet_suspects(quiet):
            if not self._attachments[number].segment.alive():
                self._agent.end(number)
        self._checked += count
        self._state.lives.expire()

    def settled(self) -> bool:
        """Whether all that are left are alive."""
        return all(attachment.segment.alive() for attachment in self._attachments.values())

    def release(self) -> None:
        """Leave all segments to the next reader."""
        for number in list(self._attachments):
            self._attachments[number].release()
            self._forget(number)

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
        logger.warning("left aside: %s", said if name in said else f"{name}: {said}")
        self._discovery.put_aside(name, "quarantined")
        self._show_aside()

    def _show_aside(self) -> None:
        aside = self._discovery.aside
        self._state.set_figures(aside("foreign"), aside("quarantined"), aside("retired"))

    def _attach(self, name: str, segment: Segment) -> None:
        uuid = segment.header.uuid
        slot = self._state.segments.get(uuid)
        if slot is not None and self._state.slot_status(slot) == SLOT_ENDED:
            self._remove(segment)  # folded by a reader that was killed before it could unlink it
            segment.close()
            return
        try:
            if slot is not None and any(attachment.slot == slot for attachment in self._attachments.values()):
                raise SegmentError(f"{name}: a copy of another segment")
            attachment = Attachment(self._agent, self._state, segment, slot)
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
        self._agent.start(attachment.number)

    def _serve(self, number: int) -> bool:
        """Do what a ring waits for; False if it has to wait on, for memory."""
        attachment, status = self._attachments[number], self._agent.status(number)
        try:
            if status == Status.LIES:
                attachment.segment.check_whole()
                raise SegmentError(f"{attachment.segment.name}: its positions cannot be")
            if status == Status.EMPTY:
                self._learn_rest(attachment)
                self._agent.fold(number)
            elif status == Status.ENDED:
                attachment.end()
                self._remove(attachment.segment)
                self._forget(number)
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

    def _remove(self, segment: Segment) -> None:
        """All of an ended segment is in the state."""
        self._state.parts.retire(segment.header.uuid)
        if is_recording(segment):
            self._keep(segment)
            return
        try:
            segment.unlink()
        except OSError as error:  # another user's file in a sticky directory: the slot goes on saying that it is folded
            logger.warning("%s is drained and cannot be removed: %s", segment.name, error.strerror)
            self._discovery.put_aside(segment.name, "retired")
        else:
            self._state.free_slot(segment.header.uuid)

    def _keep(self, recording: Segment) -> None:
        """It stays, and its slot goes on saying that it is folded; older ones may have to go."""
        self._recordings[recording.header.uuid] = recording.name
        unlink_surplus(recording.namespace, recording.producer)
        for uuid, name in list(self._recordings.items()):
            if not os.path.lexists(os.path.join(DIRECTORY, name)):
                del self._recordings[uuid]
                self._state.free_slot(uuid)

    def _learn_rest(self, attachment: Attachment) -> None:
        """Definitions that no record has needed may have cells."""
        try:
            while attachment.learn():
                pass
        except StateError:
            raise
        except Exception as error:
            logger.warning("cells are lost: %s", one_line(error))

    def _forget(self, number: int) -> None:
        attachment = self._attachments.pop(number)
        self._agent.remove(number)
        attachment.segment.close()
