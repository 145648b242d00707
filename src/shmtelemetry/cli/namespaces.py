"""Which namespaces have files in shared memory, for commands that look after all of them."""

import os
import re
from collections.abc import Iterator

from ..aggregate.aside import kept_names
from ..segment import DIRECTORY, segment_names

_FILE = re.compile(r"shmtel\.([A-Za-z0-9_-]{1,64})\.@(?:state|reader)\.(\d+)")


def namespaces() -> list[str]:
    """Those with segments of anybody, or with a state, a reader or states kept aside of this user."""
    found = {name.split(".")[1] for name in segment_names()}
    found |= {namespace for _, namespace in kept_names(DIRECTORY)}
    return sorted(found | set(_of_this_user()))


def _of_this_user() -> Iterator[str]:
    for name in os.listdir(DIRECTORY):
        match = _FILE.fullmatch(name)
        if match and int(match[2]) == os.geteuid():
            yield match[1]
