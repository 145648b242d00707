"""What containers and units take from a process, where neither Docker nor systemd runs."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.peers import need, unshared

READ_ONLY = """
mount --bind "$0" "$0" && mount -o remount,ro,bind / && exec "$@"
"""
NO_NEW_CODE = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # linux/prctl.h
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    print("this kernel has no PR_SET_MDWE", file=sys.stderr)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def confined(folder: Path, *namespaces: str) -> list[str]:
    """What a command begins with that may write nothing but `folder` and /dev/shm, and that has no capabilities.

    Nor can it make memory executable that was writable. namespaces: further options of unshare.
    """
    drop = [need("setpriv"), "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    return [
        *unshared("--mount", *namespaces), "sh", "-c", READ_ONLY, str(folder), *drop, sys.executable, "-c", NO_NEW_CODE,
    ]  # fmt: skip
