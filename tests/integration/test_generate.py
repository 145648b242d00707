"""`shmtel generate`, and what Prometheus's and Alertmanager's own tools say of what it writes."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

pytest.importorskip("msgspec", reason="needs shmtelemetry[monitoring]")

from shmtelemetry import Reader, Telemetry
from shmtelemetry.monitoring.catalogue import Catalogue
from tests.monitoring import DEPLOY, ROOT, RUNBOOKS, asked_by_dashboards, queries
from tests.peers import need, need_newest, run_command
from tests.processes import PATIENCE, wait_until
from tests.readers import SHMTEL, shmtel

MINE = """
[[metric]]
name = "requests_total"
type = "counter"
service = "shop"
help = "Requests."
question = "How many?"
category = "throughput"
labels = { path = ["/", "/basket"], shard = 2 }

[[metric]]
name = "wait_seconds"
type = "histogram"
service = "shop"
help = "Waiting."
question = "How long?"
category = "latency"
"""


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_repository_has_what_is_generated(tmp_path: Path) -> None:
    done = shmtel("generate", "all", "--out", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)["written"]
    assert {name: (tmp_path / name).read_text() for name in written} == files(tmp_path)
    there = files(DEPLOY)
    assert there == files(tmp_path), "remove deploy/monitoring, and run shmtel generate all --out deploy/monitoring"
    rules = ROOT / "src/shmtelemetry/service/alerts/rules.toml"
    assert rules.read_text() == there["alert_rules.toml"], "copy it to src/shmtelemetry/service/alerts/rules.toml"
    again = shmtel("generate", "all", "--out", str(tmp_path))
    assert (again.returncode, again.stdout) == (0, "")  # nothing is written twice


@pytest.mark.peer
@pytest.mark.parametrize("find", [need, need_newest])
def test_every_alert_fires_when_it_should_and_not_otherwise(find: object, tmp_path: Path) -> None:
    """And all configuration, rules, queries of runbooks and queries of panels are such."""
    promtool = find("promtool")  # type: ignore[operator]
    asked = [query for page in sorted(RUNBOOKS.glob("*.md")) for query in queries(page)]
    asked += [query for _, query in asked_by_dashboards()]
    rules = [{"record": f"asked:query:{number}", "expr": query} for number, query in enumerate(asked)]
    (tmp_path / "asked.yml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    for command in (
        ["check", "config", DEPLOY / "prometheus.yml"],
        ["check", "rules", tmp_path / "asked.yml"],
        ["test", "rules", DEPLOY / "alerts_test.yml"],
    ):
        done = run_command([promtool, *map(str, command)])
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(asked) > 450


SAMPLE = "{{schema:0 count:10 sum:100000 offset:14 buckets:[10]}}"  # ten of 8,193 to 16,384 µs
NATIVE = """
rule_files: [{alerts}]
tests:
  - interval: 1m
    input_series:
      - series: execution_engine_order_submission_latency_us{{job="a"}}
        values: '{sample}+{sample}x9'
    promql_expr_test:
      - expr: count(ALERTS{{alertname="HighOrderLatency",alertstate="firing"}})
        eval_time: 9m
        exp_samples: [{{value: 1}}]
      - expr: slo:error_ratio:5m{{slo="order_latency"}} > 0.99
        eval_time: 9m
        exp_samples: [{{labels: 'slo:error_ratio:5m{{job="a",slo="order_latency"}}', value: 1}}]
"""


@pytest.mark.peer
def test_quantiles_and_objectives_are_those_of_native_histograms_where_there_are_any(tmp_path: Path) -> None:
    (tmp_path / "native.yml").write_text(NATIVE.format(alerts=DEPLOY / "alerts.yml", sample=SAMPLE))
    done = run_command([need_newest("promtool"), "test", "rules", str(tmp_path / "native.yml")])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.peer
def test_every_alert_is_told_to_the_service_and_to_whom_its_priority_says() -> None:
    amtool = need("amtool")
    configuration = DEPLOY / "alertmanager.yml"
    lines = [
        shlex.join([
            amtool, "config", "routes", "test", f"--config.file={configuration}",
            f"--verify.receivers=service,{alert.priority}",
            f"alertname={alert.name}", f"severity={alert.priority}", f"component={alert.component}",
        ])
        for alert in Catalogue.packaged().alerts.values()
    ]  # fmt: skip
    done = run_command(["sh", "-ec", "\n".join([f"{amtool} check-config {configuration}", *lines])])
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = lines[0].replace("receivers=service,P0", "receivers=service,P2")
    assert run_command(["sh", "-ec", wrong]).returncode == 1


def test_a_catalogue_of_ones_own_makes_its_rules_beside_those_of_the_telemetry(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE + '[[job]]\nname = "shop"\ntargets = ["shop:8000"]\n')
    out = tmp_path / "out"
    done = shmtel("generate", "all", "--out", str(out), "--catalog", str(tmp_path / "mine.toml"))
    assert done.returncode == 0, done.stderr
    recorded = [rule["record"] for group in yaml.safe_load((out / "rules.yml").read_text())["groups"]
                for rule in group["rules"]]  # fmt: skip
    assert {"job:requests:rate5m", "job:wait_seconds:p99_5m", "job:shmtel_records:rate5m"} <= set(recorded)
    assert not any("market_data" in name for name in recorded)
    assert "RecordsDropped" in (out / "alerts.yml").read_text()
    jobs = yaml.safe_load((out / "prometheus.yml").read_text())["scrape_configs"]
    assert jobs == [{"job_name": "shop", "static_configs": [{"targets": ["shop:8000"]}]}]


def test_what_is_registered_gets_rules_and_new_metrics_are_followed(namespace: str, tmp_path: Path) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("shop", namespace, capacity=1024) as telemetry:
        reader.start()
        telemetry.counter("requests_total", "Requests.", labels=("path",)).labels("/").inc()
        command = [*SHMTEL, "generate", "rules", "--out", str(tmp_path), "--from-live", namespace, "--watch"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                rules = tmp_path / "rules.yml"
                wait_until(lambda: rules.exists() and "job:requests:rate5m" in rules.read_text(), "the first rules")
                telemetry.histogram("wait_seconds", "Waiting.").observe(0.1)
                wait_until(lambda: "job:wait_seconds:p99_5m" in rules.read_text(), "the rules of a new metric")
            finally:
                process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        reader.stop()


def test_a_namespace_is_compared_with_the_catalogue(namespace: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    arguments = "generate", "--check-live", namespace, "--catalog", str(tmp_path / "mine.toml"), "--json"
    with Reader(namespace, ephemeral=True) as reader, Telemetry("shop", namespace, capacity=1024) as telemetry:
        reader.start()
        requests = telemetry.counter("requests_total", "Requests.", labels=("path", "shard", "user"))
        for shard in "abc":
            requests.labels("/other", shard, "ada").inc()
        telemetry.gauge("depth", "Depth.").set(1)
        done = shmtel(*arguments)
        assert done.returncode == 1, done.stderr
        found = [(one["kind"], one["metric"]) for one in json.loads(done.stdout) if "shmtel_" not in one["metric"]]
        assert sorted(found) == [
            ("bound", "requests_total"), ("label", "requests_total"), ("missing", "wait_seconds"), ("unknown", "depth"),
            ("value", "requests_total"),
        ]  # fmt: skip
        telemetry.remove("requests_total")
        telemetry.remove("depth")
        reader.stop()


def test_a_namespace_as_the_catalogue_says_has_no_differences(namespace: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    with Reader(namespace, ephemeral=True) as reader, Telemetry("shop", namespace, capacity=1024) as telemetry:
        reader.start()
        telemetry.counter("requests_total", "Requests.", labels=("path",)).labels("/basket").inc()
        telemetry.histogram("wait_seconds", "Waiting.").observe(0.1)
        done = shmtel("generate", "--check-live", namespace, "--catalog", str(tmp_path / "mine.toml"))
        assert (done.returncode, done.stdout) == (0, "")
        reader.stop()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["charts", "--out", "x"], 2, "WHAT charts: expected one of prometheus, rules"),
        (["all"], 2, "--out is missing"),
        (["all", "--out", "x", "--watch"], 2, "--watch goes with --from-live"),
        (["all", "--out", "x", "--catalog", "nowhere.toml"], 2, "nowhere.toml cannot be read"),
        (["all", "--out", "/proc/nowhere"], 1, "--out /proc/nowhere cannot be written"),
        (["all", "--out", "x", "--from-live", "nobody-is-here"], 1, "no reader of namespace nobody-is-here"),
        (["all", "--out", "x", "--from-live", "a/b"], 2, "namespace 'a/b'"),
        (["--check-live", "nobody-is-here"], 1, "no reader of namespace nobody-is-here"),
        (["rules", "--check-live", "a"], 2, "it writes nothing"),
    ],
)
def test_what_cannot_be_is_one_line_that_says_what_to_do(arguments: list[str], code: int, message: str) -> None:
    done = shmtel("generate", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
