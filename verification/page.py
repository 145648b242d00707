"""docs/verification.md: what is proved, how to prove it again, and every mutant with its killer."""

from __future__ import annotations

from verification.mutants import ROOT, Mutant
from verification.spin import BROKEN

PAGE = ROOT / "docs/verification.md"

INTRODUCTION = """\
# Verification

Nobody has to believe that lock-free code is right. `make peers` installs what is needed (Debian's relacy-dev, spin and
gcc), and then `make verify` proves all of this again, in some minutes. This page is written by `make verify
ARGS=--write`; `make verify` and a test fail when it is not what the header and the tools say.

| what is proved | with | where |
|---|---|---|
| drop_newest, overwrite_oldest, taps, cells and exemplars under the memory model of C11: no torn record, none \
twice, none missed, losses counted exactly, positions that wrap | Relacy Race Detector, over `shmtelemetry.h` itself \
through its atomics macros | `verification/relacy/` |
| whoever copies the reader's state while it changes has series, figures and totals of one moment | the same, over \
`aggregate/_marks.h` | `verification/relacy/state.hpp` |
| the tests above see what they should: each ordering of the headers is taken away, and each position, limit and \
mark changed, one at a time | the table below | `verification/mutants.py` |
| producer and reader, each killed and started again at any step, of drop_newest and of overwrite_oldest: the \
accounting identity, whole records, every record aggregated once, or counted as overwritten once, by the redo log of \
[decision 4](decisions/0004-one-redo-step-for-each-record.md); all executions | Spin, with an explicit store buffer | \
`verification/spin/ring.pml`, `verification/spin/overwrite.pml` |
| threads over one mapping have no data race: drop_newest, and overwrite_oldest with a tap beside its reader | \
ThreadSanitizer, over the header | `verification/tsan/` |
| between claim and publish the compiled modules call nothing but memcpy, lock nothing, fence nothing and enter no \
kernel | objdump, x86-64 | `verification/disassembly.py` |
| no access out of bounds, no use after free, no undefined behaviour in the compiled modules | ASan and UBSan under \
unit and property tests; `make sanitize` for the whole suite | `setup.py` |

What this does not prove: Relacy takes interleavings and stale values at random (the same ones in each run, {executions}
of the headers as they are), of rings of 2 and 4 records, and does not know loads that see the future. The Spin models
are written by hand beside the code. ThreadSanitizer does not know fences. Tests marked `unsanitized` say why they are
left out of the sanitized runs.

Spin has to find an error when, one at a time, {broken}.

## Mutants of the headers

| line | in | what is wrong | caught by |
|---|---|---|---|
"""


def page(executions: int, found: list[tuple[Mutant, tuple[str, str] | None]]) -> str:
    broken = "; ".join(what for ways in BROKEN.values() for what in ways.values())
    rows = [row(mutant, caught) for mutant, caught in found]
    return INTRODUCTION.format(executions=f"{executions:,}", broken=broken) + "".join(rows)


def row(mutant: Mutant, caught: tuple[str, str] | None) -> str:
    return f"{place(mutant)} {f'`{caught[0]}`: {caught[1]}' if caught else '**nothing**'} |\n"


def place(mutant: Mutant) -> str:
    """The part of a row that follows from the header alone."""
    return f"| {mutant.header.name}:{mutant.line} | `shmtel_{mutant.function}` | {mutant.what} |"
