"""What is generated from the catalogue: that it is what the repository has, and that it speaks of what is emitted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("msgspec", reason="needs shmtelemetry[monitoring]")
pytest.importorskip("yaml", reason="needs shmtelemetry[monitoring]")

import yaml

from shmtelemetry.cli import main
from shmtelemetry.monitoring.catalogue import Catalogue
from shmtelemetry.monitoring.entries import (
    RESPONSE_TIMES,
    Alert,
    Definition,
    Deployment,
    Job,
    Objective,
    Panel,
    Query,
    Row,
)
from shmtelemetry.monitoring.generate import ALL, NAMES, generated
from shmtelemetry.monitoring.rules import all_rules
from tests.monitoring import DEPLOY, ROOT, RUNBOOKS, queries

BY_PRIORITY = {
    "P0": """
        CircuitBreakerTriggered MaxDailyLossExceeded MarketDataWebsocketDisconnected ExecutionApiDown MemoryLeakDetected
        NoActiveBotsRunning HighPortfolioDrawdown ServiceDown
    """,
    "P1": """
        HighOrderLatency HighSlippage InferenceFailures RiskCheckFailures LowFillRate ApiRateLimitHit HighMarketDataLag
        HighRedisErrorRate ReaderDown RecordsDropped EventsLetGo SloBurnFast
    """,
    "P2": """
        ElevatedMarketDataLatency HighCpuUsage ZmqQueueBacklog RetryEscalation LowMessageThroughput LowCoverage
        ReaderLagging SegmentQuarantined SeriesOverflow HistoryLost SloBurnSlow
    """,
}
HEADINGS = ["Meaning", "Impact", "First look", "What to do"]
OF_PROMQL = {
    "and", "avg_over_time", "bool", "by", "clamp_max", "count", "delta", "deriv", "histogram_fraction",
    "histogram_quantile", "increase", "label_replace", "max", "max_over_time", "min", "min_over_time", "offset", "or",
    "rate", "sort", "sort_desc", "sum", "time", "topk", "vector", "without", "up", "job", "service", "instance",
}  # fmt: skip
CATALOGUE = Catalogue.packaged()
ALERTS = list(CATALOGUE.alerts.values())


def named(alert: Alert) -> str:
    return alert.name


def metrics_of(query: str) -> set[str]:
    """The names of metrics and recorded series that a query asks for."""
    bare = re.sub(r"""\{[^{}]*\}|\[[^\]]*\]|"[^"]*"|\b(by|without)\s*\([^)]*\)|(?<![\w:.])\d[\w.]*""", " ", query)
    return set(re.findall(r"[a-zA-Z_][\w:]*", bare)) - OF_PROMQL


def served() -> set[str]:
    """Names of all series that there can be."""
    names = {rule["record"] for rules in all_rules(CATALOGUE).values() for rule in rules}
    for definition in CATALOGUE.definitions.values():
        names.add(definition.name)
        if definition.type == "histogram":
            names |= {f"{definition.name}_{sample}" for sample in ("bucket", "count", "sum", "window_quantile")}
    return names


def test_every_alert_is_there_with_its_priority() -> None:
    told = {alert.name: alert.priority for alert in ALERTS}
    assert told == {name: priority for priority, names in BY_PRIORITY.items() for name in names.split()}


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: Alert) -> None:
    assert {bool(case.fires) for case in alert.tests} == {True, False}


def test_rules_alerts_and_runbooks_ask_only_for_what_is_emitted() -> None:
    asked = {rule["record"]: rule["expr"] for rules in all_rules(CATALOGUE).values() for rule in rules}
    asked |= {alert.name: alert.expr for alert in ALERTS}
    asked |= {f"{page.stem} {query}": query for page in RUNBOOKS.glob("*.md") for query in queries(page)}
    assert len(asked) > 200
    unknown = {place: names for place, query in asked.items() if (names := metrics_of(query) - served())}
    assert unknown == {}


def test_a_query_for_what_is_not_there_would_be_seen() -> None:
    query = 'sum by (job) (rate(gone_total{status="a"}[5m])) / 2 > bool 1e3'
    assert metrics_of(query) == {"gone_total"}


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_every_alert_has_a_runbook_that_says_what_to_do(alert: Alert) -> None:
    text = (RUNBOOKS / f"{alert.name}.md").read_text()
    assert text.startswith(f"# {alert.name}\n\n**{alert.priority}**: answer ")
    assert f"{RESPONSE_TIMES[alert.priority]}." in text.splitlines()[2]
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    sections = re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]
    assert "```sh\n" in sections[2]
    assert sections[3].strip().startswith("- ")


def test_there_is_no_runbook_of_nothing_and_no_link_to_nowhere() -> None:
    pages = {page.stem: page.read_text() for page in RUNBOOKS.glob("*.md")}
    assert set(pages) == set(CATALOGUE.alerts)
    for text in pages.values():
        for link in re.findall(r"\]\(([^)#]+)", text):
            assert (RUNBOOKS / link).exists(), link
        for word in re.findall(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+){2,})`", text):
            assert word in {*served(), "risk_check_latency", "market_data_latency", "orders_per_second"}, word


def test_the_commands_of_the_runbooks_are_commands() -> None:
    lines = [line for page in RUNBOOKS.glob("*.md") for line in re.findall(r"^shmtel (.*)$", page.read_text(), re.M)]
    assert len(lines) > 10
    for line in lines:
        name, *arguments = line.split()
        main.commands[name].make_context(name, arguments)  # which raises for what it does not take


def test_the_parts_of_the_deployment_name_each_other() -> None:
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in prometheus["scrape_configs"]}
    four = [jobs[name]["static_configs"][0]["targets"] for name in
            ("market-data", "signal-bridge", "risk-manager", "execution-engine")]  # fmt: skip
    assert four == [[f"127.0.0.1:{port}"] for port in (9090, 9091, 9092, 9093)]
    intervals = {
        name: job.get("scrape_interval", prometheus["global"]["scrape_interval"]) for name, job in jobs.items()
    }
    assert intervals == dict.fromkeys(jobs, "10s") | {"redis": "30s", "postgres": "30s", "trading-telemetry": "5s"}
    (alertmanager,) = prometheus["alerting"]["alertmanagers"]
    assert alertmanager["static_configs"] == [{"targets": ["127.0.0.1:9193"]}]
    assert all((DEPLOY / name).exists() for name in prometheus["rule_files"])
    assert (
        "--storage.tsdb.retention.time=30d --storage.tsdb.retention.size=10GB"
        in (DEPLOY / "prometheus.yml").read_text()
    )


def test_secrets_are_files() -> None:
    text = (DEPLOY / "alertmanager.yml").read_text()
    kept = dict(re.findall(r"(\w+): (/etc/shmtelemetry/secrets/\w+)$", text, re.MULTILINE))
    assert set(kept) == {"smtp_auth_password_file", "slack_api_url_file", "routing_key_file"}
    assert not re.search(r"(password|api_url|routing_key):", text)


def test_the_page_tells_of_every_key_alert_and_file() -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    for entry in (Definition, Objective, Job, Deployment, Alert, Row, Panel, Query):
        for key in entry.__struct_encode_fields__:
            assert f"`{key}`" in page, key
    for alert in ALERTS:
        assert f"[{alert.name}](../src/shmtelemetry/service/runbooks/{alert.name}.md)" in page, alert.name
    files = [name.removeprefix("grafana/dashboards/").removesuffix(".json") for name in generated(CATALOGUE, ALL)]
    for name in (*files, *NAMES, *CATALOGUE.objectives, *CATALOGUE.jobs):
        assert f"`{name}`" in page or f"generate {name} " in page, name


def test_the_catalogue_on_the_page_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    (tmp_path / "shop.toml").write_text(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])
    files = generated(Catalogue.load([tmp_path / "shop.toml"]), ALL)
    assert "https://wiki.example/runbooks/SlowCheckout.md" in files["alerts.yml"]
    assert "job:checkouts:rate5m" in files["rules.yml"]
    assert 'name = "SlowCheckout"' in files["alert_rules.toml"]
    assert "job_name: shop" in files["prometheus.yml"]
