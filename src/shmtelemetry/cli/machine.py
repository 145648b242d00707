"""What `shmtel doctor` finds of the machine, the container and this process's limits."""

import glob
import os
import re
import resource
from collections.abc import Iterator
from typing import Final

from .. import config, layout
from .._clock import clock_kind
from ..aggregate.series import RESERVE
from ..schema import SAMPLE
from ..segment import DIRECTORY, usable
from ..segment_space import cgroup_room
from .findings import Finding

RING: Final = 65536  # records of a producer's ring, by default
SEGMENT: Final = layout.areas(0, SAMPLE.itemsize, RING, layout.CATALOGUE_STEP).size
FULL: Final = 0.8  # share of /dev/shm or of memory from which on it is worth a note
CLOCKSOURCE: Final = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
SYSTEM_UIDS: Final = 1000  # below, users are the system's, whom logind leaves alone


def findings() -> Iterator[Finding]:
    if config.disabled():
        advice = "unset it, or set it to 0, where telemetry is wanted"
        yield Finding("note", "disabled", "SHMTEL_DISABLED is set: producers with it do nothing", advice)
    yield from shared_memory()
    yield container()
    yield memory()
    yield clock()
    yield from limits()
    yield remove_ipc()


def shared_memory() -> Iterator[Finding]:
    """Kind, room and permissions of the directory of segments."""
    if not usable():
        advice = f"mount one: mount -t tmpfs -o size=256m,mode=1777 tmpfs {DIRECTORY}"
        yield Finding("problem", "shm", f"{DIRECTORY} is no tmpfs that can be opened: producers do nothing", advice)
        return
    space = os.statvfs(DIRECTORY)
    size, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
    found = f"{DIRECTORY} has {size:,} bytes, {free:,} of them free; a ring takes {SEGMENT:,} by default"
    advice = "shmtel gc; then make it larger (docker: --shm-size=256m, kubernetes: emptyDir medium Memory, else: "
    advice += f"mount -o remount,size=256m {DIRECTORY}), or take rings of a smaller capacity"
    full = size and free < size * (1 - FULL)
    if not size:
        yield Finding("ok", "shm", f"{DIRECTORY} is bounded by memory alone")
    elif free < SEGMENT:
        yield Finding("problem", "shm", found, advice)
    else:
        yield Finding("note" if full else "ok", "shm", found, advice if full else "")
    mode = os.stat(DIRECTORY).st_mode & 0o7777
    if not os.access(DIRECTORY, os.R_OK | os.W_OK | os.X_OK):
        advice = f"chmod 1777 {DIRECTORY}, or run as a user who may write there"
        yield Finding("problem", "permissions", f"mode {mode:o}: this user cannot make segments", advice)
    elif not mode & 0o1000 and mode & 0o022:
        advice = f"chmod +t {DIRECTORY}"
        yield Finding("problem", "permissions", f"mode {mode:o}: others may remove our segments", advice)
    else:
        yield Finding("ok", "permissions", f"{DIRECTORY} has mode {mode:o}")


def container(root: str = "/") -> Finding:
    """Whose namespaces this process is in. root: of the file system that shows whether it is a container's."""
    inodes = ", ".join(f"{kind} {os.stat(f'/proc/self/ns/{kind}').st_ino}" for kind in ("pid", "ipc", "mnt"))
    kind = _container_kind(root)
    if not kind:
        return Finding("ok", "namespaces", f"no container is seen; {inodes}")
    advice = (
        "containers that share a reader need one /dev/shm: docker: --ipc=shareable for the first and "
        "--ipc=container:NAME for the others; kubernetes: an emptyDir of medium Memory mounted at /dev/shm in each, "
        "and the same runAsUser"
    )
    return Finding("note", "namespaces", f"this is a container ({kind}); {inodes}", advice)


def _container_kind(root: str) -> str:
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    for path, kind in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if os.path.exists(os.path.join(root, path)):
            return kind
    found = re.search(r"kubepods|docker|containerd|libpod|lxc", _text(os.path.join(root, "proc/self/cgroup")))
    return found[0] if found else ""


def memory() -> Finding:
    """Room below memory.max: segments count there for whoever touched them first."""
    room = cgroup_room()
    if room is None:
        return Finding("ok", "memory", "no memory.max of a cgroup bounds this process")
    found = f"{room:,} bytes are left below the cgroup's memory.max; segments in {DIRECTORY} count as well"
    advice = "raise memory.max (docker: --memory, kubernetes: resources.limits.memory), or use smaller rings"
    return Finding("problem", "memory", found, advice) if room < SEGMENT else Finding("ok", "memory", found)


def clock() -> Finding:
    source = _text(CLOCKSOURCE).strip() or "unknown"
    if clock_kind() == layout.CLOCKS["tsc"]:
        return Finding("ok", "clock", f"the TSC is used; the kernel's clocksource is {source}")
    found = f"CLOCK_MONOTONIC is used, since the kernel's clocksource is {source}: about 13 ns more for each emit"
    return Finding("note", "clock", found, "boot with clocksource=tsc where the processor's TSC is invariant")


def limits() -> Iterator[Finding]:
    """Resource limits of this process; those of a service are in its unit or container."""
    for name, limit, wanted, cost in (
        ("nofile", resource.RLIMIT_NOFILE, 1024, "a reader keeps one descriptor for each connection"),
        ("as", resource.RLIMIT_AS, 2 * RESERVE, f"a reader reserves {RESERVE:,} bytes of addresses"),
        ("fsize", resource.RLIMIT_FSIZE, SEGMENT, "no segment may be larger"),
        ("memlock", resource.RLIMIT_MEMLOCK, 0, "nothing is locked into memory"),
    ):
        soft = resource.getrlimit(limit)[0]
        said = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft:,}"
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            yield Finding("ok", f"limit {name}", f"{said}: {cost}")
        else:
            severity = "note" if name == "nofile" else "problem"
            advice = f"raise it to {wanted:,} (systemd: Limit{name.upper()}=, docker: --ulimit, a shell: ulimit)"
            yield Finding(severity, f"limit {name}", f"{said}: {cost}", advice)


def remove_ipc() -> Finding:
    """systemd-logind removes a user's files in /dev/shm with the last session: logind.conf(5)."""
    if not os.path.isdir("/run/systemd/system") or os.geteuid() < SYSTEM_UIDS:
        return Finding("ok", "RemoveIPC", "no logind removes this user's segments")
    said = "yes"
    for path in ["/etc/systemd/logind.conf", *sorted(glob.glob("/etc/systemd/logind.conf.d/*.conf"))]:
        said = (re.findall(r"^RemoveIPC=(\S+)", _text(path), re.MULTILINE) or [said])[-1]
    if said in ("no", "false", "0", "off"):
        return Finding("ok", "RemoveIPC", f"RemoveIPC={said}")
    found = "systemd-logind removes this user's segments and totals when the last session ends"
    advice = "run services as a system user, or: loginctl enable-linger USER, or RemoveIPC=no in logind.conf"
    return Finding("note", "RemoveIPC", found, advice)


def _text(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""
