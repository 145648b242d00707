"""Producers in C and C++ for tests: compiled with every warning an error, and driven line by line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from shmtelemetry import get_include

HERE = Path(__file__).parent
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
STANDARD = {".c": ["cc", "-std=c11"], ".cpp": ["c++", "-std=c++17", "-fno-exceptions", "-fno-rtti"]}


def compiled(source: Path, folder: Path, *flags: str, compiler: str | None = None) -> Path:
    """The program that a source becomes, in `folder`."""
    program = folder / source.stem
    command, *standard = STANDARD[source.suffix]
    everything = [compiler or command, *standard, *WARNINGS, *flags, "-I", get_include(), str(source), "-pthread"]
    done = subprocess.run([*everything, "-o", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(everything)}\n{done.stderr}"
    return program


class Driver:
    """A running driver.c."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._in, self._out = process, process.stdin, process.stdout
        self.pid = process.pid

    _in: IO[str]
    _out: IO[str]

    def say(self, *words: object) -> str:
        """Let it do what a line says; returns its answer."""
        print(*words, file=self._in, flush=True)
        answer = self._out.readline().rstrip("\n")
        assert answer, f"no answer to {words}: {self.process.wait(10)}"
        return answer

    def open(self, namespace: str, capacity: int = 1024, name: str = "engine") -> None:
        assert self.say("open", name, namespace, capacity) == "0"

    def add(self, kind: str, name: str, *, unit: str = "-", merge: str = "-", labels: str = "-", values: str = "-",
            help: str = "") -> int:  # fmt: skip
        """A series; returns the number of its handle."""
        error, number = self.say("add", kind, name, unit, merge, labels, values, help).split()
        assert error == "0"
        return int(number)

    def emit(self, handle: int, value: float, times: int = 1) -> int:
        """How many were taken."""
        return int(self.say("emit", handle, repr(value), times))

    def stats(self) -> dict[str, int]:
        """Its accounting, which must hold."""
        found: dict[str, int] = json.loads(self.say("stats"))
        assert found["attempted"] == sum(value for name, value in found.items() if name != "attempted")
        return found

    def end_child(self) -> None:
        """Let the child that `fork` began end, without any clean-up of its own."""
        print("exit", file=self._in, flush=True)


@contextmanager
def driver(program: Path, **environment: str) -> Iterator[Driver]:
    """A process of driver.c, which ends with the block and must end well."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [program], stdin=pipe, stdout=pipe, text=True, env={**os.environ, **environment}
    ) as process:  # fmt: skip
        try:
            yield Driver(process)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()
