"""ThreadSanitizer over shmtelemetry.h: silent about what is right, and not about a relaxed publish."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from verification.mutants import HEADER

PROGRAM = Path(__file__).parent / "two_threads.c"


def run(*definitions: str) -> subprocess.CompletedProcess[str]:
    flags = ["-std=gnu11", "-O1", "-g", "-fsanitize=thread", "-fno-builtin", *definitions, "-I", str(HEADER.parent)]
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "two_threads")
        subprocess.run(["gcc", *flags, str(PROGRAM), "-o", program, "-lpthread"], check=True)
        command = ["setarch", "-R", program]  # it does not find its way in randomised addresses of newer kernels
        return subprocess.run(command, capture_output=True, text=True, timeout=120)


def verify() -> str:
    """What went from thread to thread without a race."""
    result = run()
    if result.returncode:
        raise SystemExit(f"tsan: the header as it is fails:\n{result.stderr[:4000]}")
    if "data race" not in run("-DRELAXED_PUBLISH").stderr:
        raise SystemExit("tsan: finds nothing when the publish is a relaxed store")
    return result.stdout.strip()
