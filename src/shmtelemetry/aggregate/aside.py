"""States that were kept aside: what somebody did not want to go on with, in case it is missed."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

_ASIDE = re.compile(r"shmtel\.([A-Za-z0-9_-]{1,64})\.@state\.\d+\.bad-\d{8}T\d{12}Z")


def keep_aside(path: Path) -> Path:
    """Give a state another name, which says when; its new path. Only by who holds the reader's lock."""
    kept = path.with_name(f"{path.name}.bad-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    os.rename(path, kept)
    return kept


def kept_names(directory: str, namespace: str | None = None) -> Iterator[tuple[str, str]]:
    """(name of the file, its namespace) of all that are kept aside, in no order."""
    with os.scandir(directory) as entries:
        for entry in entries:
            found = _ASIDE.fullmatch(entry.name)
            if found and namespace in (None, found[1]):
                yield entry.name, found[1]
