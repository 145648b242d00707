"""python -m verification [--write]: prove again what docs/verification.md says, or write that page."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

from verification import disassembly, page, relacy, spin, tsan


def model_checked() -> str:
    executions, found = relacy.verify()
    text = page.page(executions, found)
    if "--write" in sys.argv:
        page.PAGE.write_text(text)
    if survivors := [f"{mutant.function}: {mutant.what}" for mutant, caught in found if caught is None]:
        raise SystemExit(f"relacy: nothing catches {'; '.join(survivors)}")
    if page.PAGE.read_text() != text:
        raise SystemExit("docs/verification.md is not what was found: make verify ARGS=--write")
    return f"{executions:,} executions right, all {len(found)} mutants caught"


def disassembled() -> str:
    modules = [importlib.util.find_spec(f"shmtelemetry.{name}") for name in disassembly.MODULES]
    ways = sum(disassembly.checked(Path(module.origin)) for module in modules if module and module.origin)
    return f"{ways} ways from claim to publish, with no call but memcpy, no lock, no fence, no system call"


PARTS: dict[str, Callable[[], str]] = {
    "relacy": model_checked,
    "spin": lambda: "{:,} states right, {} broken models caught".format(*spin.verify()),
    "tsan": lambda: f"{tsan.verify()} without a race; caught: {', '.join(tsan.BROKEN.values())}",
    "disassembly": disassembled,
}

for name, part in PARTS.items():
    begin = time.monotonic()
    print(f"{name}: {part()} ({time.monotonic() - begin:.0f} s)", flush=True)
