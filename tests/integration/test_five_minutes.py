"""The way of docs/monitoring.md from nothing to a dashboard, followed to the letter but for Grafana itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs shmtelemetry[service]")
pytest.importorskip("msgspec", reason="needs shmtelemetry[monitoring]")

from tests.monitoring import ROOT, as_asked
from tests.peers import need_newest, unshared
from tests.processes import PATIENCE, wait_until
from tests.prometheus import Prometheus, is_ready

PROMETHEUS = "http://127.0.0.1:9999"
FILES = [
    "grafana/provisioning/datasources/shmtelemetry.yaml",
    *(f"grafana/dashboards/{name}.json" for name in ("overview", "http", "own")),  # http: what the service tells
]

# A machine of its own, so to say: the documented ports are free, /dev/shm is empty, and all ends with the last command.
ALONE = "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"
BEGIN = "mount -t tmpfs tmpfs /dev/shm && ip link set lo up\n"
END = f'exec "{sys.executable}" -m tests.integration.test_five_minutes\n'


def blocks(language: str) -> list[str]:
    page = (ROOT / "docs/monitoring.md").read_text()
    section = re.split(r"^## ", page.partition("## Five minutes")[2], flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def look() -> None:
    """Prints the dashboard's title and those of its panels, once Prometheus has something for each of them."""
    dashboard = json.loads(Path("monitoring/grafana/dashboards/live.json").read_text())
    prometheus = Prometheus(PROMETHEUS)
    wait_until(partial(is_ready, PROMETHEUS), "Prometheus is ready")
    titles = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            wait_until(partial(prometheus.result, as_asked(target["expr"])), f"{panel['title']} shows something")
            titles.append(panel["title"])
    print(json.dumps([dashboard["title"], *dict.fromkeys(titles)]))


@pytest.mark.slow
@pytest.mark.peer
def test_the_way_from_nothing_to_a_dashboard_leads_there(tmp_path: Path) -> None:
    install, run, grafana = blocks("sh")
    (tmp_path / "shop.py").write_text(blocks("python")[0])
    programs = os.pathsep.join(str(Path(one).parent) for one in (sys.executable, need_newest("prometheus")))
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    done = subprocess.run(
        [*unshared(*ALONE), "sh", "-ec", f"{BEGIN}{run}{END}"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        "shop", "Checkout duration", "Checkout duration: distribution", "Checkouts", "Queue length",
    ]  # fmt: skip
    assert all((tmp_path / "monitoring" / name).exists() for name in FILES)
    assert "job_name: shop" in (tmp_path / "monitoring/prometheus.yml").read_text()
    assert "shmtelemetry[service,monitoring]" in install
    mounted = re.findall(r'-v "\$PWD/(\S+?):(\S+?):ro"', grafana)
    assert {(tmp_path / here).is_dir() for here, _ in mounted} == {True}
    assert [there for _, there in mounted] == ["/etc/grafana/provisioning", "/etc/grafana/dashboards"]


if __name__ == "__main__":
    look()
