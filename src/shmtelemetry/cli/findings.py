"""What `shmtel doctor` finds."""

from dataclasses import dataclass
from typing import Final

SEVERITIES: Final = ("ok", "note", "problem")


@dataclass(frozen=True, slots=True)
class Finding:
    """severity: one of SEVERITIES. topic: what was looked at. found: what it is like. advice: what to do, or empty.

    namespace: that it is about, None for the machine.
    """

    severity: str
    topic: str
    found: str
    advice: str = ""
    namespace: str | None = None
