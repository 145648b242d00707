"""Files of definitions: what they mean, and that one that is wrong is told by its place and does nothing."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("yaml")

from shmtelemetry.sources.definitions import MAX_BYTES, Definitions, File, parse, read

WHOLE = b"""
metrics:
  - {name: orders_total, type: counter, message: order_placed, help: Orders., labels: [symbol]}
  - {name: turnover_total, type: counter, message: order_placed, labels: [symbol], adds: value}
  - name: execution_time_ms
    type: histogram
    message: latency
    labels: [symbol, bot_id]
    unit: seconds
    buckets: [1, 5, 25]
  - {name: depth, type: gauge}
bots:
  bot-b:
    metrics:
      - {name: latency_seconds, type: histogram, message: latency}
routes:
  - {message: "debug_*", to: []}
  - {message: "order_*", bot: bot-b, to: [ring, forward]}
processors: {fill: fills}
"""


def test_a_file_says_what_messages_of_each_bot_mean() -> None:
    definitions = parse(WHOLE)
    kinds = definitions.kinds("bot-a")
    assert set(kinds) == {"order_placed", "latency", "depth"}
    assert kinds["latency"].labels == ("symbol",)
    [latency] = kinds["latency"].measures
    assert (latency.metric.labels, latency.metric.buckets) == (("symbol", "bot_id"), (1, 5, 25))
    assert (latency.factor, latency.divisor) == (1000, 1)
    adds, counts = kinds["order_placed"].measures
    assert (adds.metric.name, adds.counts) == ("turnover_total", False)
    assert (counts.metric.name, counts.counts, counts.metric.help) == ("orders_total", True, "Orders.")
    [own] = definitions.kinds("bot-b")["latency"].measures
    assert own.metric.name == "latency_seconds"
    assert definitions.processors == {"fill": "fills"}


def test_the_first_route_that_matches_counts() -> None:
    definitions = parse(WHOLE)
    assert definitions.route("bot-a", "debug_x", ("ring",)) == ()
    assert definitions.route("bot-a", "order_placed", ("ring",)) == ("ring",)
    assert definitions.route("bot-b", "order_placed", ("ring",)) == ("ring", "forward")


def test_an_empty_file_means_the_documented_metrics() -> None:
    for definitions in (parse(b""), Definitions(File())):
        assert {metric.name for metric in definitions.metrics()} == {"orders_total", "execution_time_ms"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics: [{name: a, type: counter, lables: [b]}]", r"metrics\[0\]: .*lables"),
        ("metrics: [{name: a, type: countr}]", r"metrics\[0\]\.type: .*countr"),
        ("metrics: [{type: counter}]", r"metrics\[0\]: .*name"),
        ("metrics: [{name: a, type: gauge, labels: [on]}]", r"metrics\[0\]\.labels\[0\]: .*str"),
        ("metrics: [{name: a-b, type: gauge}]", r"metrics\[0\]: .*a-b"),
        ("metrics: [{name: a, type: gauge, buckets: [1]}]", r"metrics\[0\]: buckets"),
        ("metrics: [{name: a, type: gauge, adds: one}]", r"metrics\[0\]: adds"),
        ("metrics: [{name: a, type: gauge, message: 'a:b'}]", r"metrics\[0\]: message"),
        ("metrics: [{name: a_ms, type: gauge, unit: bytes}]", r"metrics\[0\]: .*bytes"),
        ("metrics: [{name: ingest_items_total, type: counter}]", r"metrics\[0\]: .*own"),
        ("metrics: [{name: a, type: histogram, labels: [le]}]", r"metrics\[0\]: .*le"),
        ("metrics: [{name: a, type: gauge}, {name: b, type: gauge, message: a, labels: [c]}]", r"\[1\]: .*labels"),
        ("bots: {x: {metrics: [{name: a, type: nil}]}}", r"bots\[\.\.\.\]\.metrics\[0\]\.type"),
        ("metrics: [{name: a, type: gauge}]\nbots: {x: {metrics: [{name: a, type: histogram}]}}", "a is defined twice"),
        ("metrics: [{name: a, type: gauge}, {name: a_total, type: counter}]", "a_total has samples .* as a:"),
        ("routes: [{to: [nowhere]}]", r"routes\[0\]\.to\[0\]: .*nowhere"),
        ("routes: [{message: a}]", r"routes\[0\]: .*to"),
        ("metric: []", "the file: .*metric"),
        ("[1]", "the file: "),
        ("metrics: []\nmetrics: []", "line 2: metrics comes twice"),
        ("metrics: {a: &x [1], b: *x}", "line 1: expected no anchors"),
        ("a: {<<: {b: c}}", "line 1: expected a text"),
        ("metrics: !!python/object/apply:os.system ['exit 1']", "line 1: .*python"),
        ("metrics: !include other.yaml", "line 1: .*include"),
        ("{1: 2", "line 1: "),
        ("[" * 5000, "line 1: more than 10 levels"),
        ("? [a]\n: b", "line 1: expected a text as key"),
        ("metrics: \x07", "no YAML"),
        ("metrics: [{name: a, type: histogram, buckets: [.nan, 1]}]", r"metrics\[0\]: buckets"),
        ("2001-13-45: a", "."),
        ("metrics: 2001-13-45", "line 1: month"),
        ("metrics: !!str x", "line 1: expected no tags"),
        ('metrics: [{name: "\\uD800", type: gauge}]', "line 1: .*surrogates"),
        ("metrics: " + "1" * 5000, "line 1: expected at most 100 characters"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_told_by_its_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        parse(text.encode())
    assert str(raised.value).isprintable()  # one line


def test_a_bomb_of_aliases_takes_no_memory(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x,x,x,x,x,x,x,x,x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text("\n".join(levels))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb.yaml: line 1: expected no anchors"):
        read(str(bomb))
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    bomb.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ValueError, match="at most"):
        read(str(bomb))


def test_a_value_is_converted_to_the_unit_that_the_name_says() -> None:
    [measure] = parse(b"metrics: [{name: t_seconds, type: histogram, unit: us}]").kinds("x")["t_seconds"].measures
    assert math.isclose(2.0 * measure.factor / measure.divisor, 2e-6)
