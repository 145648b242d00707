"""`make gates`: measure what the gates need, and fail when one is missed.

A gate that is missed is measured again, in fresh processes, up to two more times. Of each reading, on both
sides of a ratio, the least counts: a busy machine makes readings larger, and nothing makes them too small.
"""

from __future__ import annotations

import sys

from benchmarks.figures import FIGURES, Figure, take

ATTEMPTS = 3


def judge(gate: Figure, readings: dict[str, float]) -> tuple[float, int]:
    """Measure until the gate is met, at most three times; returns its figure and how often it was measured.

    Args:
        gate: the gate.
        readings: those taken so far; what is missing is added, and what is repeated is lowered.
    """
    for attempt in range(1, ATTEMPTS + 1):
        for name in gate.of:
            if attempt > 1 or name not in readings:
                _lower(readings, name)
        value = gate.value(readings)
        if gate.met(value):
            break
    return value, attempt


def _lower(readings: dict[str, float], name: str) -> None:
    for taken, value in take(name).items():
        readings[taken] = min(value, readings.get(taken, value))


def verdict_of(gate: Figure, value: float, readings: dict[str, float]) -> str:
    """What is said of a gate; MISSED is what fails."""
    if gate.met(value):
        return "met"
    for name in gate.floor:
        _lower(readings, name)
    if gate.floor and not gate.met(gate.floor_value(readings)):
        return f"not to be had on this machine, whose floor is {gate.floor_value(readings):.2f}"
    return "MISSED"


def main() -> int:
    """Print one line a gate; returns 1 if one is missed."""
    gates = [figure for figure in FIGURES if figure.gate]
    width = max(len(gate.what) for gate in gates)
    readings: dict[str, float] = {}
    missed = 0
    print(f"{'gate':{width}}  {'figure':>8}  {'limit':18}  verdict")
    for gate in gates:
        value, attempts = judge(gate, readings)
        verdict = verdict_of(gate, value, readings)
        missed += verdict == "MISSED"
        again = f", measured {attempts} times, the least of each reading counts" if attempts > 1 else ""
        print(f"{gate.what:{width}}  {value:8.2f}  {gate.bound:18}  {verdict}{again}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
