"""Machines that are not like this one: real programs in a mount namespace whose files say something else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.peers import run_command, unshared

OWN_CGROUP = "/proc/self/cgroup"


def findings(files: Mapping[str, str], hidden: Sequence[str] = (), uid: int | None = None) -> dict[str, dict[str, Any]]:
    """Topic → what `shmtel doctor` finds of a machine with these files.

    hidden: folders in which there is nothing else. uid: of the user who looks.
    """
    machine = json.dumps({"files": dict(files), "hidden": list(hidden), "uid": uid})
    done = run_command([*unshared("--mount"), sys.executable, "-m", "tests.machines", machine])
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return {one["topic"]: one for one in found}


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _arrange(files: Mapping[str, str], hidden: Sequence[str]) -> None:
    for folder in hidden:
        _mount("-t", "tmpfs", "tmpfs", folder)
    for name, text in files.items():
        path = Path(name if name != OWN_CGROUP else f"/proc/{os.getpid()}/cgroup")  # mount(8) is another "self"
        if any(path.is_relative_to(folder) for folder in hidden):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            continue
        with tempfile.NamedTemporaryFile("w") as given:
            given.write(text)
            given.flush()
            os.chmod(given.name, 0o644)
            _mount("--bind", given.name, str(path))


def _look(machine: dict[str, Any]) -> str:
    from dataclasses import asdict

    from shmtelemetry.cli.machine import findings as found

    _arrange(machine["files"], machine["hidden"])
    if machine["uid"] is not None:  # after the imports: that user may not be allowed to
        os.setuid(machine["uid"])
    return json.dumps([asdict(one) for one in found()])


if __name__ == "__main__":
    print(_look(json.loads(sys.argv[1])))
