"""The catalogue of metrics: what it promises, that it is what is emitted, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("msgspec", reason="needs shmtelemetry[monitoring]")

from shmtelemetry.aggregate.snapshot import Family, Snapshot
from shmtelemetry.exporters.prometheus import expose
from shmtelemetry.monitoring.catalogue import Catalogue
from shmtelemetry.monitoring.entries import CATEGORIES
from shmtelemetry.monitoring.generate import generated
from shmtelemetry.schema import Schema
from shmtelemetry.trading import instruments, schemas
from tests.peers import need, run_command

FOUR = ("market_data", "signal_bridge", "risk_manager", "execution_engine")

# Names that others rely on, as they rely on them.
PROMISED = {
    "telemetry": """
        orders_produced_total orders_consumed_total orders_dropped_total batches_sent_total buffer_utilization_percent
        network_dropped_packets_total network_retransmissions_total throughput_orders_per_second batch_latency_seconds
    """,
    "bots": """
        trading_bots_active_total trading_bot_trades_total trading_bot_pnl_usd portfolio_total_value_usd
        portfolio_positions_count portfolio_cash_balance_usd market_data_updates_total market_data_lag_seconds
        websocket_connections_active redis_operations_total redis_connection_errors_total database_queries_total
        database_query_duration_seconds
    """,
    "service": """
        http_requests_total http_request_duration_seconds websocket_connections_active websocket_messages_sent_total
        collector_metrics_collected_total http_request_size_bytes http_response_size_bytes
    """,
    "sidecar": "orders_total execution_time_ms",
    "platform": """
        execution_engine_order_submission_latency_us market_data_websocket_latency_us
        risk_manager_pretrade_check_latency_us trading_unrealized_pnl_usd execution_engine_orders_submitted_total
        trading_open_positions_count execution_engine_api_failures_total risk_manager_risk_failures_total
        market_data_websocket_connection_failures_total
    """,
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.packaged()


def load(folder: Path, text: str) -> Catalogue:
    file = folder / "mine.toml"
    file.write_text(text)
    return Catalogue.load([file])


def test_every_promised_name_is_there_and_nothing_else_is_exempt_from_lint(catalogue: Catalogue) -> None:
    promised = {name for names in PROMISED.values() for name in names.split()}
    documented = {name for name, definition in catalogue.definitions.items() if definition.documented}
    assert documented == promised


def test_the_four_services_have_54_metrics_in_five_categories(catalogue: Catalogue) -> None:
    for services, least in ((FOUR, 54),):
        mine = [definition for definition in catalogue.definitions.values() if definition.service in services]
        assert len(mine) >= least
        assert {definition.category for definition in mine} == set(CATEGORIES)
    assert all(definition.question.endswith("?") for definition in catalogue.definitions.values())


def test_the_ready_instruments_are_what_the_catalogue_says(catalogue: Catalogue) -> None:
    assert {"instruments.py": Path(instruments.__file__).read_text()} == generated(catalogue, "handles")


def test_the_records_of_the_trading_pack_make_the_metrics_that_the_catalogue_says(catalogue: Catalogue) -> None:
    made = {
        metric.name: (f"trading.{name}", metric)
        for name, schema in vars(schemas).items()
        if isinstance(schema, Schema)
        for metric, *_ in schema.metrics("x").values()
    }
    told = {
        definition.name: (definition.emitter, definition.metric)
        for definition in catalogue.definitions.values()
        if definition.emitter.startswith("trading.")
    }
    others = {name: metric for name, (_, metric) in made.items() if name not in told}
    assert told == {name: made[name] for name in told}
    for name, metric in others.items():  # a telemetry log's, which instruments with labels have as well
        assert catalogue.definitions[name].metric.kind == metric.kind


@pytest.mark.peer
def test_promtool_finds_nothing_else_than_the_documented_names_to_complain_about(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    families = {}
    for name, definition in catalogue.definitions.items():
        metric, labels = definition.metric, tuple("x" for _ in definition.labels)
        counts = np.ones((1, len(metric.buckets) + 1), np.uint64) if metric.kind == "histogram" else None
        families[name] = Family(metric, metric.labels, (labels,), np.ones(1), np.zeros(1), counts)
    exposition = expose(Snapshot("default", 0, families, {}))
    promtool = need("promtool")
    (tmp_path / "metrics").write_bytes(exposition)
    checked = run_command(["sh", "-c", f"{promtool} check metrics <{tmp_path}/metrics"])
    complained = {line.split()[0] for line in checked.stderr.splitlines()}
    assert complained <= {name for name, definition in catalogue.definitions.items() if definition.documented}


METRIC = """
[[metric]]
name = "orders_total"
type = "counter"
service = "mine"
help = "Orders."
question = "How many?"
category = "throughput"
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"orders_total"', '"orders"'), "mine.toml: orders: metric: .*expected orders_total"),
        (('"orders_total"', '"9orders_total"'), "mine.toml: 9orders_total: metric: .*expected \\[a-zA-Z_"),
        (('"counter"', '"gauge"'), "_total is what a counter's name ends in"),
        (('"counter"', '"timer"'), "orders_total: metric: type: Invalid enum value 'timer'"),
        (('"orders_total"\ntype = "counter"', '"wait_ms"\ntype = "histogram"'), "unit is ms: expected seconds"),
        (('"throughput"', '"speed"'), "category: Invalid enum value 'speed'"),
        (('"throughput"', '"throughput"\nbuckets = [1]'), "a counter has none"),
        (('"throughput"', '"throughput"\nlabels = { symbol = 0 }'), "labels.*>= 1"),
        (('"throughput"', '"throughput"\nlabels = { symbol = [] }'), "labels.*>= 1"),
        (('"throughput"', '"throughput"\nlabels = { __name__ = 4 }'), "label name '__name__'"),
        (('"throughput"', '"throughput"\ncolour = "red"'), "unknown field `colour`"),
        (('help = "Orders."', ""), "orders_total: metric: .*missing required field `help`"),
        (("[[metric]]", "[metric]"), "expected metric to be \\[\\[metric\\]\\] tables"),
        (("[[metric]]", "[[metrics]]"), "mine.toml: unknown key 'metrics'"),
        (("[[metric]]", "[[metric"), "mine.toml is no TOML"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    load(tmp_path, METRIC)
    with pytest.raises(ValueError, match=message):
        load(tmp_path, METRIC.replace(*change))


def test_two_metrics_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mine.toml: orders_total: metric: there are two of that name"):
        load(tmp_path, METRIC + METRIC)


ALERT = """
[[alert]]
name = "Slow"
component = "shop"
priority = "P1"
expr = "wait > 1"
summary = "It is slow."
in_process = { metric = "wait", comparison = ">", threshold = 1 }
[[alert.tests]]
at = "1m"
fires = [{}]
values = ["1"]
[alert.tests.series]
wait = "1x9"
"""
SLO = """
[[slo]]
name = "waiting"
title = "They wait for a second at most."
service = "shop"
objective = 0.99
metric = "shmtel_reader_lag_seconds"
at_most = 1
"""


@pytest.mark.parametrize(
    ("text", "change", "message"),
    [
        (ALERT, ('"P1"', '"P4"'), "mine.toml: Slow: alert: priority: Invalid enum value 'P4'"),
        (ALERT, ('values = ["1"]', ""), "Slow: alert: .*fires: expected one of values each, got 1 and 0"),
        (ALERT, ("It is slow.", "{symbol} is slow."), "Slow: alert: summary: a test that fires has no label symbol"),
        (ALERT, ('at = "1m"', 'at = "soon"'), "Slow: alert: tests.*at: "),
        (ALERT, ('threshold = 1', 'threshold = "high"'), "in_process: rule Slow: threshold 'high': expected a number"),
        (SLO, ("0.99", "1.0"), "waiting: slo: objective: "),
        (SLO, ("at_most = 1", "at_most = 2"), "slo waiting: at_most 2.0: expected a bound of shmtel_reader"),
        (SLO, ("shmtel_reader_lag_seconds", "shmtel_series"), "slo waiting: shmtel_series is no histogram"),
        (SLO, ("at_most = 1", 'good = "up"'), "expected either metric and at_most, or good"),
        ('[deployment]\nsecrets = "s"', ("secrets", "secret"), "deployment: .*unknown field `secret`"),
        ('[[job]]\nname = "a"\ntargets = ["h:1"]', ('["h:1"]', "[]"), "a: job: targets: "),
    ],
)  # fmt: skip
def test_alerts_objectives_and_places_that_cannot_be_are_refused(
    tmp_path: Path, text: str, change: tuple[str, str], message: str
) -> None:
    generated(load(tmp_path, text), "all")
    with pytest.raises(ValueError, match=message):
        generated(load(tmp_path, text.replace(*change)), "all")


def test_each_file_s_jobs_come_instead_of_the_package_s(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.toml").write_text(f'[[job]]\nname = "{name}"\ntargets = ["h:1"]\n')
    assert list(Catalogue.load([tmp_path / "a.toml", tmp_path / "b.toml"]).jobs) == ["a", "b"]
    assert "market-data" in load(tmp_path, METRIC).jobs
