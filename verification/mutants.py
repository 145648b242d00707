"""Every way in which the headers could be a little less than they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADER = ROOT / "src/shmtelemetry/include/shmtelemetry.h"
MARKS = ROOT / "src/shmtelemetry/aggregate/_marks.h"
ORDERING = re.compile(r"SHMTEL_(LOAD_ACQUIRE|STORE_RELEASE|FENCE_ACQUIRE|FENCE_RELEASE)\(")
WEAKER = {
    "LOAD_ACQUIRE": "acquire load is relaxed",
    "STORE_RELEASE": "release store is relaxed",
    "FENCE_ACQUIRE": "no acquire fence",
    "FENCE_RELEASE": "no release fence",
}


@dataclass(frozen=True)
class Mutant:
    """A change of a header. `text`: the changed header; None where the line is weakened without one."""

    header: Path
    line: int
    function: str
    what: str
    text: str | None = None


# What is checked besides orderings: function, a piece of it, what stands there instead, in words.
CHANGES = {
    HEADER: [
    ("refresh", "used >= producer->capacity", "used > producer->capacity", "a full ring passes for one with room"),
    ("refresh", "= read_position + producer->capacity", "= read_position + producer->capacity + 1",
     "the cached limit is one too far"),
    ("claim", "position == producer->limit", "0", "the cached limit is not looked at"),
    ("claim", "position + 1);", "position);", "the claim is one behind"),
    ("claim", "position & producer->mask", "(position + 1) & producer->mask", "the index is one too far"),
    ("publish", "producer->position + 1", "producer->position + 2", "a position that nobody wrote is published"),
    ("push", "    SHMTEL_COPY(place, record, producer->record_size);\n    shmtel_publish(producer);\n",
     "    shmtel_publish(producer);\n    SHMTEL_COPY(place, record, producer->record_size);\n",
     "published before it is written"),
    ("push_many", "batch > producer->limit - position", "0", "a batch passes the cached limit"),
    ("push_many", "batch > producer->capacity - index", "0", "a batch passes the ring's end"),
    ("push_many", "claimed_position, position + batch", "claimed_position, position + 1", "one claim for a batch"),
    ("cell_set", "&cell->slot[steps & 1].value", "&cell->slot[(steps + 1) & 1].value", "writes into the valid slot"),
    ("cell_set", "cell->steps) + 1", "cell->steps) + 2", "the mark stays odd or even"),
    ("cell_read", "if (SHMTEL_LOAD_RELAXED(&cell->steps) == before)", "if (1)", "the mark is not looked at again"),
    ("cell_read", "slot[before & 1].time", "slot[(before + 1) & 1].time", "reads the slot that is written"),
    ("exemplar_set", "shmtel_exemplar_at(place, room, steps)", "shmtel_exemplar_at(place, room, steps + 1)",
     "writes into the valid slot"),
    ("exemplar_set", "place->steps) + 1", "place->steps) + 2", "the mark stays odd or even"),
    ("exemplar_read", "if (SHMTEL_LOAD_RELAXED(&place->steps) == before)", "if (1)", "the mark is not looked at again"),
    ("lost", "ahead > consumer->capacity ? ahead - consumer->capacity : 0", "0", "nobody is ever lapped"),
    ("lost", "ahead - consumer->capacity", "ahead - consumer->capacity - 1", "one record too few is lost"),
    ("lost", "consumer->out->claimed_position", "consumer->out->write_position", "a lap is known by the publish only"),
    ("skip", "consumer->overwritten += lost;", "", "what is lost is not counted"),
    ("release", "consumer->position - consumer->overwritten", "consumer->position", "what is lost counts as read"),
    ],
    MARKS: [
    ("mark_begin", "SHMTEL_LOAD_RELAXED(mark) + 1", "SHMTEL_LOAD_RELAXED(mark)", "the mark stays even"),
    ("mark_begin", "    SHMTEL_STORE_RELAXED(mark, odd);\n", "", "the mark is odd for nobody"),
    ("mark_end", "odd + 1", "odd - 1", "the mark is what it was before the change"),
    ("mark_stood", "!(before & 1) && ", "", "an odd mark passes for an even one"),
    ("mark_stood", "SHMTEL_LOAD_RELAXED(mark) == before", "1", "the mark is not looked at again"),
    ],
}  # fmt: skip


def mutants() -> list[Mutant]:
    """All of the headers as they are now, in the order of their lines."""
    return [mutant for header in CHANGES for mutant in sorted(_of(header), key=lambda mutant: mutant.line)]


def _of(header: Path) -> list[Mutant]:
    text = header.read_text()
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not (orderings := ORDERING.findall(line)):
            continue
        assert len(orderings) == 1, f"{header.name}:{number}: one ordering a line, so that it can be weakened alone"
        found.append(Mutant(header, number, _function_at(header, lines, number), WEAKER[orderings[0]]))
    for function, old, new, what in CHANGES[header]:
        begin = re.search(rf"^static inline .*\bshmtel_{function}\(", text, re.MULTILINE)
        assert begin, f"{header.name} has no shmtel_{function}"
        end = text.index("\n}\n", begin.start())
        place = text.find(old, begin.start(), end)
        assert place > 0, f"{header.name}: shmtel_{function} has no longer {old!r}: change its mutant too"
        changed = text[:place] + new + text[place + len(old) :]
        found.append(Mutant(header, text.count("\n", 0, place) + 1, function, what, changed))
    return found


def _function_at(header: Path, lines: list[str], number: int) -> str:
    for line in reversed(lines[:number]):
        if begin := re.match(r"static inline .*\bshmtel_(\w+)\(", line):
            return begin[1]
    raise AssertionError(f"{header.name}:{number} is in no function")
