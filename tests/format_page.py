"""The tables of docs/format.md, as they stand there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/format.md"
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "f64": 8}


@dataclass(frozen=True)
class Item:
    """One line of a table of bytes."""

    offset: int
    type: str
    name: str
    meaning: str

    @property
    def size(self) -> int:
        kind, _, count = self.type.partition("[")
        return SIZES[kind] * int(count.rstrip("]") or 1)


def rows(*head: str) -> list[list[str]]:
    """The rows of the one table that has this head."""
    text = PAGE.read_text(encoding="utf-8")
    (body,) = re.findall(rf"^\| {re.escape(' | '.join(head))} \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in body.splitlines()]


def items(name: str) -> list[Item]:
    """The bytes of one structure, in order."""
    return [Item(int(row[0]), row[1], row[2], row[3]) for row in rows("offset", "type", name, "meaning")]


def offsets(name: str) -> dict[str, int]:
    return {item.name: item.offset for item in items(name)}


def numbered(text: str) -> dict[str, int]:
    """ "0 drop_newest, 1 block" → {"drop_newest": 0, "block": 1}"""
    return {name: int(number) for number, name in re.findall(r"(\d+) (\w+)", text)}
