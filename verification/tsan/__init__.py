"""ThreadSanitizer over shmtelemetry.h: silent about what is right, and not about a store that is a little less."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from verification.mutants import HEADER

PROGRAM = Path(__file__).parent / "two_threads.c"
OVERWRITE = "-DOVERWRITE"
RIGHT = {(): "drop_newest", (OVERWRITE,): "overwrite_oldest with a tap"}
BROKEN = {
    ("-DRELAXED_PUBLISH",): "the publish is a relaxed store",
    (OVERWRITE, "-DPLAIN_POSITIONS"): "positions are plain stores",
}


def run(*definitions: str) -> subprocess.CompletedProcess[str]:
    flags = ["-std=gnu11", "-O1", "-g", "-fsanitize=thread", "-Wno-tsan", "-fno-builtin", "-I", str(HEADER.parent)]
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "two_threads")
        subprocess.run(["gcc", *flags, *definitions, str(PROGRAM), "-o", program, "-lpthread"], check=True)
        command = ["setarch", "-R", program]  # it does not find its way in randomised addresses of newer kernels
        return subprocess.run(command, capture_output=True, text=True, timeout=120)


def verify() -> str:
    """What went from thread to thread without a race."""
    told = []
    for definitions, what in RIGHT.items():
        result = run(*definitions)
        if result.returncode:
            raise SystemExit(f"tsan: {what} as it is fails, {result.returncode}:\n{result.stderr[:4000]}")
        told.append(f"{result.stdout.strip()} of {what}")
    for definitions, what in BROKEN.items():
        if "data race" not in run(*definitions).stderr:
            raise SystemExit(f"tsan: finds nothing when {what}")
    return " and ".join(told)
