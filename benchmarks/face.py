"""What emitting costs a C++ program, and what a queue between threads of one process does.

python -m benchmarks.face                                rdtsc and the C++ face, nanoseconds a call
SHMTEL_SPSCQUEUE=FOLDER python -m benchmarks.face        rigtorp/SPSCQueue.h in FOLDER as well
"""

from __future__ import annotations

from benchmarks.subjects import cpp, native
from shmtelemetry.cli.bench import label_of, measure_fresh, name_of


def main() -> None:
    """Print a line each, the least of three fresh processes by turns."""
    subjects = (native.rdtsc, cpp.counter, cpp.records, *([cpp.spsc_queue] if cpp.QUEUE else []))
    least = {subject: float("inf") for subject in subjects}
    for _ in range(3):
        for subject in subjects:
            least[subject] = min(least[subject], *measure_fresh(name_of(subject)))
    for subject, nanoseconds in least.items():
        print(f"{nanoseconds:6.1f} ns  {label_of(subject)}")


if __name__ == "__main__":
    main()
