"""What the compiled modules do between claim and publish: nothing but moving the record."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path

from verification.mutants import HEADER

MODULES = {"_ring": 4, "_writer": 3, "_instruments": 4, "compat._metrics": 3}  # that emit → at least so many ways
INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t(.*)")
STORE = re.compile(r"^mov\w* +[^,]+,(-?0x[0-9a-f]+)?\(%")  # to memory
JUMP = re.compile(r"^j(\w+) +([0-9a-f]+)")
FORBIDDEN = re.compile(r"^(lock\b|xchg +.*\(|syscall|sysenter|int +|[lsm]fence)")


def checked(module: Path) -> int:
    """How many ways from a claim to its publish there are in a compiled module (x86-64, with line numbers).

    Raises AssertionError where one has a call but memcpy's, a locked instruction, a fence or a system call.
    """
    lines = HEADER.read_text().splitlines()

    def with_text(*texts: str) -> set[int]:
        return {number for number, line in enumerate(lines, 1) if any(text in line for text in texts)}

    claims, publishes = with_text("out->claimed_position, position +"), with_text("out->write_position, position")
    refused = with_text("(!place)", "(!sample)")  # never after a claim, which the compiler does not know
    code = _instructions(module)
    order = sorted(code)
    following = dict(pairwise(order))
    begins = [at for at in order if code[at][1] in claims and STORE.match(code[at][0])]
    for begin in begins:
        seen, open_ = set[int](), [following[begin]]
        while open_:
            at = open_.pop()
            text, line = code[at]
            if at in seen or (line in publishes and STORE.match(text)):
                continue
            seen.add(at)
            where = f"{module.name}, {at:x}, {HEADER.name}:{line}: {text!r} between claim and publish"
            assert not FORBIDDEN.match(text), where
            assert not text.startswith("ret"), where
            assert not text.startswith("call") or "<memcpy@" in text, where
            jump = JUMP.match(text)
            assert jump or not text.startswith("j"), where  # to a computed address
            if jump and line not in refused:
                open_.append(int(jump[2], 16))
            if not jump or jump[1] != "mp":
                open_.append(following[at])
    return len(begins)


def _instructions(module: Path) -> dict[int, tuple[str, int]]:
    """By address: the text, and the line of the header that it comes from, 0 for other files."""
    command = ["objdump", "-d", "--no-show-raw-insn", "--line-numbers", str(module)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[int, tuple[str, int]] = {}
    line = 0
    for text in listing.splitlines():
        if place := re.match(r"^/.*/([^/]+):(\d+)", text):
            line = int(place[2]) if place[1] == HEADER.name else 0
        elif instruction := INSTRUCTION.match(text):
            found[int(instruction[1], 16)] = instruction[2], line
    return found
