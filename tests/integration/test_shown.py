"""What a scrape shows: metrics chosen by name, and labels for every series, the reader's own figures included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from shmtelemetry import Telemetry, read_state
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.exporters.prometheus import Exposition
from shmtelemetry.exporters.shown import Shown
from tests.processes import wait_until
from tests.readers import Running, reader
from tests.unit.test_exposition import family, metric, snapshot


@pytest.fixture
def telemetry(namespace: str) -> Iterator[Telemetry]:
    with Telemetry("bot", namespace=namespace) as made:
        made.counter("orders_total", "Orders.", labels=("symbol",)).labels("AAPL").inc()
        made.histogram("orders_latency_seconds", "Latency.", labels=("venue",)).labels("x").observe(0.5)
        made.gauge("depth", "Depth.", labels=("env",)).labels("mine").set(3.0)
        yield made


def families(running: Running) -> list[dict[str, Metric]]:
    """By name, of a scrape in the text format and of one in OpenMetrics."""
    openmetrics = running.get("/metrics", Accept="application/openmetrics-text")
    return [
        {found.name: found for found in parse_text(running.get("/metrics"))},
        {found.name: found for found in parse_openmetrics(openmetrics)},
    ]


@pytest.mark.parametrize(
    ("options", "shown", "hidden"),
    [
        (["--include", "orders_*"], {"orders", "orders_latency_seconds"}, {"depth", "shmtel_records", "shmtel_series"}),
        (["--exclude", "orders_*"], {"depth", "shmtel_records"}, {"orders", "orders_latency_seconds"}),
        (["--include", "orders_*", "--include", "shmtel_series", "--exclude", "*_total"],
         {"orders_latency_seconds", "shmtel_series"}, {"orders", "depth", "shmtel_records"}),
    ],
)  # fmt: skip
def test_a_scrape_shows_what_is_included_and_not_excluded(
    namespace: str, telemetry: Telemetry, options: list[str], shown: set[str], hidden: set[str]
) -> None:
    with reader(namespace, "--ephemeral", *options) as running:
        for found in families(running):
            assert shown <= found.keys()
            assert not hidden & found.keys()
        state = read_state(namespace)
        assert state.value("orders_total", symbol="AAPL") == 1  # all is aggregated, whatever is shown
        assert {"depth", "orders_latency_seconds", "shmtel_records_total"} <= state.families.keys()


def test_windows_go_with_their_metric_unless_their_own_name_is_excluded(namespace: str, telemetry: Telemetry) -> None:
    with reader(namespace, "--ephemeral", "--exclude", "orders_total", "--exclude", "*_window_[qc]*") as running:
        wait_until(lambda: "orders_latency_seconds_window_rate" in running.get("/metrics"), "a second has passed")
        for found in families(running):
            windows = {name for name in found if "_window_" in name}
            assert windows - {name for name in found if name.startswith("shmtel_")} == {
                "orders_latency_seconds_window_rate",
                "orders_latency_seconds_window_max",
            }


def test_constant_labels_are_on_every_series_but_where_a_metric_has_its_own(
    namespace: str, telemetry: Telemetry, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    options = ("--ephemeral", "--const-label", "env=prod", "--const-label", 'desk=fx "spot"')
    with reader(namespace, *options, said=said) as running:
        for found in families(running) + families(running):
            for name, read in found.items():
                own = {"env": "mine"} if name == "depth" else {"env": "prod"}
                for sample in read.samples:
                    assert sample.labels.items() >= ({"desk": 'fx "spot"'} | own).items(), sample
            (orders,) = [sample for sample in found["orders"].samples if sample.name == "orders_total"]
            assert (orders.labels["symbol"], orders.value) == ("AAPL", 1.0)
        telemetry.counter("orders_total", "Orders.", labels=("symbol",)).labels("MSFT").inc()
        (text, _) = families(running)
        assert {sample.labels["symbol"] for sample in text["orders"].samples} == {"AAPL", "MSFT"}
        assert "env" not in read_state(namespace).families["orders_total"].label_names
    assert said.read_text().count("depth keeps its own label env") == 1
    assert said.read_text().count("\n") == 1


# ---- the rules by themselves ----


def names(shown: Shown, *metrics: str) -> list[str]:
    return list(shown(snapshot(*(family(metric("gauge", name)) for name in metrics))).families)


@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        ([], [], ["a", "ab", "Ab", "b:c"]),
        (["a"], [], ["a"]),
        (["a?", "*c"], [], ["ab", "b:c"]),
        (["[!a]*"], [], ["Ab", "b:c"]),
        ([], ["[a-z]*"], ["Ab"]),
        (["*"], ["*"], []),
    ],
)
def test_patterns_match_whole_names_and_know_cases(include: list[str], exclude: list[str], left: list[str]) -> None:
    assert names(Shown(include, exclude), "a", "ab", "Ab", "b:c") == left


def test_label_values_stay_the_same_object_between_scrapes() -> None:
    """An exposition tells by it that it need not write the labels again."""
    whole = snapshot(family(metric("gauge", "g", labels=("l",)), (("x",), ("y",)), (1.0, 2.0)))
    shown = Shown(const_labels=[("env", "prod")])
    first, second = shown(whole).families["g"], shown(whole).families["g"]
    assert first.labels == (("x", "prod"), ("y", "prod"))
    assert first.labels is second.labels
    exposition = Exposition()
    assert exposition.expose(shown(whole)) == exposition.expose(shown(whole))


def test_without_settings_a_snapshot_is_shown_as_it_is() -> None:
    whole: Snapshot = snapshot(family(metric("gauge", "g")))
    assert Shown()(whole) is whole
