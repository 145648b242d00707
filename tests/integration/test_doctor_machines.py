"""What `shmtel doctor` says of containers, memory limits, clocks and logind, on machines that have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shmtelemetry.cli.findings import Finding
from shmtelemetry.cli.machine import container
from tests.machines import OWN_CGROUP, findings

CGROUPS = "/sys/fs/cgroup"
CLOCKS = "/sys/devices/system/clocksource/clocksource0"
LOGIND = "/etc/systemd/logind.conf"
USER = 1000

# As cgroups(7) shows them inside a container that has the host's cgroup namespace.
DOCKER = "0::/system.slice/docker-7be6ee7e7f3c1a0fdb2d2d5c5f9a3f6f9f0e8a1b.scope\n"
KUBERNETES = "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-0f3b.scope\n"
PODMAN = "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-1c9d.scope/container\n"
LXC = "12:cpuset:/lxc.payload.web\n0::/lxc.payload.web/system.slice\n"
BARE = "0::/user.slice/user-1000.slice/session-3.scope\n"


def memory(limit: str, current: int, files: int = 0) -> dict[str, Any]:
    """Topics of a machine on which this process's cgroup has that memory.max, and so much page cache."""
    said = {"memory.max": f"{limit}\n", "memory.current": f"{current}\n"}
    said["memory.stat"] = (
        f"anon {current - files}\nfile {files}\nactive_file {files // 4}\ninactive_file {files * 3 // 4}\n"
    )
    box = {f"{CGROUPS}/box/{name}": text for name, text in said.items()}
    return findings({OWN_CGROUP: "0::/box\n", **box}, hidden=[CGROUPS])


def shown(root: Path, files: dict[str, str]) -> Finding:
    """What is found where the root of the file system has these files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return container(str(root))


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"proc/self/cgroup": DOCKER}, "docker"),
        ({"proc/self/cgroup": KUBERNETES}, "kubepods"),
        ({"proc/self/cgroup": PODMAN}, "libpod"),
        ({"proc/self/cgroup": LXC}, "lxc"),
        ({"proc/self/cgroup": "0::/\n", ".dockerenv": ""}, "docker"),
        ({"proc/self/cgroup": "0::/\n", "run/.containerenv": 'engine="podman-4.3.1"\n'}, "podman"),
    ],
)
def test_a_container_is_known_by_its_files_and_told_how_to_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], kind: str
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    found = shown(tmp_path, files)
    assert found.severity == "note"
    assert found.found.startswith(f"this is a container ({kind}); pid ")
    assert "--ipc=container:NAME" in found.advice
    assert "emptyDir of medium Memory mounted at /dev/shm" in found.advice


def test_a_pod_is_known_by_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert "this is a container (kubernetes)" in shown(tmp_path, {"proc/self/cgroup": "0::/\n"}).found


def test_no_container_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    found = shown(tmp_path, {"proc/self/cgroup": BARE})
    assert (found.severity, found.advice) == ("ok", "")


def test_a_memory_limit_with_no_room_for_a_ring_is_a_problem() -> None:
    found = memory("67108864", 67108864 - 4096)["memory"]
    assert found["severity"] == "problem"
    assert found["found"].startswith("4,096 bytes are left below the cgroup's memory.max")
    assert "resources.limits.memory" in found["advice"]


def test_page_cache_counts_as_free_below_a_memory_limit() -> None:
    found = memory("67108864", 67108864 - 4096, files=32 * 2**20)["memory"]
    assert found["severity"] == "ok"
    assert found["found"].startswith(f"{32 * 2**20 + 4096:,} bytes are left")


def test_no_memory_limit_is_no_finding() -> None:
    assert memory("max", 10**9)["memory"] == findings({OWN_CGROUP: "0::/\n"}, hidden=[CGROUPS])["memory"]


@pytest.mark.parametrize("source", ["hpet", "acpi_pm", "xen"])
def test_a_clock_source_that_is_no_tsc_is_a_note_with_its_price(source: str) -> None:
    found = findings({f"{CLOCKS}/current_clocksource": f"{source}\n"}, hidden=[CLOCKS])["clock"]
    assert found["severity"] == "note"
    assert f"clocksource is {source}: about 13 ns more" in found["found"]
    assert "clocksource=tsc" in found["advice"]


def test_a_clock_source_that_nobody_tells_is_a_note() -> None:
    assert "clocksource is unknown" in findings({}, hidden=[CLOCKS])["clock"]["found"]


@pytest.mark.parametrize(
    ("configured", "uid", "severity"),
    [
        ({LOGIND: "[Login]\n#RemoveIPC=yes\n"}, USER, "note"),
        ({LOGIND: "[Login]\nRemoveIPC=no\n"}, USER, "ok"),
        ({LOGIND: "[Login]\nRemoveIPC=no\n", f"{LOGIND}.d/50-site.conf": "[Login]\nRemoveIPC=yes\n"}, USER, "note"),
        ({f"{LOGIND}.d/50-site.conf": "[Login]\nRemoveIPC=false\n"}, USER, "ok"),
        ({LOGIND: "[Login]\nRemoveIPC=yes\n"}, 999, "ok"),
    ],
    ids=["by default", "off", "on by a later file", "off by a further file", "a system user"],
)
def test_a_logind_that_removes_a_users_segments_is_a_note(configured: dict[str, str], uid: int, severity: str) -> None:
    running = {"/run/systemd/system/here": ""}
    found = findings(running | configured, hidden=["/run", "/etc/systemd"], uid=uid)["RemoveIPC"]
    assert found["severity"] == severity
    if severity == "note":
        assert "loginctl enable-linger" in found["advice"]


def test_without_logind_nothing_is_removed() -> None:
    assert findings({}, hidden=["/run"], uid=USER)["RemoveIPC"]["severity"] == "ok"
