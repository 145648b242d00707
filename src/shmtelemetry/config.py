"""Settings that come from outside the program: the environment."""

import os


def disabled() -> bool:
    """SHMTEL_DISABLED=1: every producer of this process does nothing."""
    return os.environ.get("SHMTEL_DISABLED", "") not in ("", "0")


def namespace() -> str | None:
    """SHMTEL_NAMESPACE: the namespace that the operator names; None if he names none."""
    return os.environ.get("SHMTEL_NAMESPACE") or None
