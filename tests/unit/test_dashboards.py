"""The dashboards of the repository: that they show what is emitted, all of it, and lead on."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("msgspec", reason="needs shmtelemetry[monitoring]")
pytest.importorskip("grafana_foundation_sdk", reason="needs shmtelemetry[monitoring]")

import yaml

from shmtelemetry.monitoring.catalogue import Catalogue
from shmtelemetry.monitoring.entries import Definition
from shmtelemetry.monitoring.generate import generated
from shmtelemetry.monitoring.panels import called, of_metric
from tests.monitoring import CHOSEN, DASHBOARDS, DEPLOY, RUNBOOKS, as_asked, asked_by_dashboards, dashboards, panels
from tests.unit.test_monitoring import metrics_of, served

ALL = dashboards()
CATALOGUE = Catalogue.packaged()
OF_PROMETHEUS = {"ALERTS", "up", "on"}
NAMES = """
    overview market-data signal-bridge risk-manager execution-engine platform bots telemetry http sidecar own objectives
"""
DOCUMENTED = (
    "portfolio_total_value_usd", "rate(market_data_updates_total[1m])", "websocket_connections_active",
    "trading_open_positions_count", "trading_bots_active_total",
)  # fmt: skip
every_dashboard = pytest.mark.parametrize("name", ALL)


def test_there_is_an_overview_one_of_each_service_and_one_of_objectives() -> None:
    assert sorted(ALL) == sorted(NAMES.split())
    assert {f"grafana/dashboards/{name}.json" for name in ALL} <= generated(CATALOGUE, "grafana").keys()
    assert len({dashboard["uid"] for dashboard in ALL.values()}) == len(ALL)


def test_panels_ask_only_for_what_is_emitted() -> None:
    unknown = {
        place: names
        for place, query in asked_by_dashboards()
        if (names := metrics_of(query) - served() - OF_PROMETHEUS)
    }
    assert unknown == {}


@pytest.mark.parametrize("definition", CATALOGUE.definitions.values(), ids=lambda one: one.name)
def test_every_metric_is_on_its_services_dashboard_with_the_question_it_answers(definition: Definition) -> None:
    its = [
        panel
        for panel in panels(ALL[definition.service.replace("_", "-")])
        if f"`{definition.name}`" in panel.get("description", "")
    ]
    assert [panel["type"] for panel in its] == (
        ["timeseries", "heatmap"] if definition.type == "histogram" else ["timeseries"]
    )
    for panel in its:
        assert panel["description"].startswith(definition.question)
        for target in panel["targets"]:
            assert definition.name in re.sub(r"_bucket\b", "", target["expr"])


@every_dashboard
def test_panels_have_numbers_and_places_of_their_own(name: str) -> None:
    found = ALL[name]["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    places = [panel["gridPos"] for panel in found]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@every_dashboard
def test_whatever_is_chosen_can_be_chosen(name: str) -> None:
    variables = {one["name"]: one for one in ALL[name]["templating"]["list"]}
    asked = {
        word
        for panel in panels(ALL[name])
        for target in panel["targets"]
        for word in re.findall(r"\$(?!__)(\w+)", target["expr"])
    }
    assert asked | {"datasource"} == variables.keys()
    assert all(one["allValue"] == ".*" and one["multi"] for one in variables.values() if one["type"] == "query")
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels(ALL[name]))


def test_one_can_choose_data_source_namespace_producer_and_symbol() -> None:
    chosen = {one["name"] for dashboard in ALL.values() for one in dashboard["templating"]["list"]}
    assert chosen == {"datasource", "namespace", "producer", "symbol"}
    assert {f"${name}" for name in chosen - {"datasource"}} < CHOSEN.keys()


def test_what_an_alert_is_about_leads_to_its_runbook() -> None:
    links = {
        link["title"].removeprefix("Runbook: "): link["url"]
        for dashboard in ALL.values()
        for panel in panels(dashboard)
        for link in panel.get("links", ())
    }
    assert all(is_runbook(url) for url in links.values())
    without = set(CATALOGUE.alerts) - links.keys()
    assert without == {"ReaderDown", "LowCoverage"}  # they are about `up`, and about any metric's coverage
    (table,) = [panel for panel in panels(ALL["overview"]) if panel["type"] == "table"]
    (link,) = table["fieldConfig"]["defaults"]["links"]
    assert is_runbook(link["url"].replace("${__data.fields.alertname}", "ReaderDown"))


def is_runbook(url: str) -> bool:
    """Whether the service has it."""
    base, _, name = url.rpartition("/")
    return base == "http://127.0.0.1:8000/runbooks" and (RUNBOOKS / name).exists()


@pytest.mark.parametrize("query", DOCUMENTED)
def test_the_documented_queries_are_there(query: str) -> None:
    bare = [re.sub(r"\{[^}]*\}", "", expr) for _, expr in asked_by_dashboards()]
    assert any(query in expr for expr in bare)


def test_heat_maps_and_quantiles_are_those_of_native_histograms_where_there_are_any() -> None:
    (definition,) = [one for one in CATALOGUE.definitions.values() if one.name == "batch_latency_seconds"]
    lines, heat = of_metric(definition)
    native = 'sum(rate(batch_latency_seconds{job=~"$namespace"}[$__rate_interval]))'
    classic = 'sum by (le) (rate(batch_latency_seconds_bucket{job=~"$namespace"}[$__rate_interval]))'
    assert heat.queries[0].expr == f"{native}\nor on ()\n{classic}"
    assert lines.queries[2].expr == f"histogram_quantile(0.99, {native})\nor\nhistogram_quantile(0.99, {classic})"


def test_grafana_finds_the_dashboards_and_the_servers() -> None:
    folder = DEPLOY / "grafana/provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards/shmtelemetry.yaml").read_text())["providers"]
    sources = yaml.safe_load((folder / "datasources/shmtelemetry.yaml").read_text())["datasources"]
    composed = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())["services"]["grafana"]
    mounted = {one["target"]: one["source"] for one in composed["volumes"] if isinstance(one, dict)}
    assert (DEPLOY / "compose" / mounted[provider["options"]["path"]]).resolve() == DASHBOARDS
    assert (DEPLOY / "compose" / mounted["/etc/grafana/provisioning"]).resolve() == folder
    assert {one["type"]: one["url"] for one in sources} == {
        "prometheus": "http://127.0.0.1:9999",
        "alertmanager": "http://127.0.0.1:9193",
    }


MINE = """
service = "shop"
title = "Shop"

[[metric]]
name = "basket_value_usd"
type = "gauge"
help = "Worth of a basket."
question = "What do people buy?"
category = "business"
labels = { till = 3 }

[[metric]]
name = "visits_total"
type = "counter"
help = "Visits."
question = "Who comes?"
category = "throughput"
labels = { visitor = 100000 }

[[row]]
title = "Now"
[[row.panels]]
title = "Baskets"
kind = "number"
queries = [{ expr = "count(basket_value_usd)" }]
width = 24
"""


def written(folder: Path, text: str) -> dict[str, Any]:
    (folder / "mine.toml").write_text(text)
    return dict(generated(Catalogue.load([folder / "mine.toml"]), "grafana"))


def test_a_catalogue_of_ones_own_has_dashboards(tmp_path: Path) -> None:
    files = written(tmp_path, MINE)
    names = {Path(path).stem for path in files if path.endswith(".json")}
    assert names == {"overview", "shop", "own"}
    shop = files["grafana/dashboards/shop.json"]
    assert '"title": "Baskets"' in shop
    assert "topk(16, sum by (visitor) (rate(visits_total" in shop
    assert '"legendFormat": "{{till}}"' in shop
    assert "Visits" in files["grafana/dashboards/overview.json"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("width = 24", "width = 25", "row: panels[0].width"),
        ('service = "shop"', 'service = "../shop"', "basket_value_usd: metric: service"),
        ('kind = "number"', 'kind = "pie"', "row: panels[0].kind"),
        ('queries = [{ expr = "count(basket_value_usd)" }]', "queries = []", "row: panels[0].queries"),
        ("[[row]]\n", '[[row]]\ncolour = "red"\n', "colour"),
    ],
)
def test_what_a_row_cannot_be_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        written(tmp_path, MINE.replace(old, new))
    assert str(caught.value).startswith("mine.toml: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('service = "shop"', 'service = "overview"', "service overview: expected another name"),
        ("[[row]]\n", '[[row]]\ndashboard = "shpo"\n', "row shpo: Now: dashboard: expected overview, shop, own"),
    ],
)
def test_a_dashboard_that_cannot_be_is_said(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written(tmp_path, MINE.replace(old, new))


def test_names_are_said_as_people_say_them() -> None:
    said = {one.name: called(one) for one in CATALOGUE.definitions.values()}
    assert said["execution_engine_order_submission_latency_us"] == "Order submission latency"
    assert said["trading_bot_pnl_usd"] == "Trading bot P&L"
    assert said["shmtel_dropped_records_total"] == "Dropped records"
    assert said["execution_engine_order_fill_ratio"] == "Order fill ratio"
    assert said["market_data_last_message_timestamp_seconds"] == "Since last message"
    assert said["service_start_time_seconds"] == "Since service start"


def test_queries_are_as_grafana_sends_them() -> None:
    assert as_asked('rate(a{job=~"$namespace"}[$__rate_interval])') == 'rate(a{job=~".*"}[1m])'
