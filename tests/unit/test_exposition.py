"""What the text formats look like, line by line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from shmtelemetry.aggregate.snapshot import Exemplar, Family, Labels, Snapshot
from shmtelemetry.exporters.prometheus import Exposition, expose
from shmtelemetry.metric import Metric, metric

BORN = 1_700_000_000.25


def family(
    definition: Metric,
    labels: Labels = ((),),
    values: Sequence[float] = (1.0,),
    counts: Sequence[Sequence[int]] | None = None,
    created: float = BORN,
) -> Family:
    numbers = np.array(values, np.float64)
    buckets = None if counts is None else np.array(counts, np.uint64)
    born = np.full(len(numbers), created)
    return Family(definition, definition.labels, labels, numbers, born, buckets)


LATENCY = replace(
    family(
        metric("histogram", "h", buckets=(1.0,), labels=("a",)), (("x",), ("y",)), (0.0, 0.0), [[1, 1], [0, 1]], 0.0
    ),
    exemplars=(
        Exemplar(0, 1, (("trace_id", 'a"b\n'), ("span_id", "c")), 1.5, 1_700_000_000_250_000_000),
        Exemplar(1, 1, (("trace_id", "d"),), math.inf, 1_700_000_000_000_000_001),
    ),
)


def snapshot(*families: Family) -> Snapshot:
    return Snapshot("default", 0, {item.metric.name: item for item in families}, {})


def text(*families: Family) -> str:
    return expose(snapshot(*families)).decode()


def openmetrics(*families: Family) -> str:
    return expose(snapshot(*families), openmetrics=True).decode()


ORDERS = family(metric("counter", "orders", "Orders sent.", labels=("symbol",)), (("AAPL",),), (3.0,))


def test_nothing_is_an_empty_text_and_in_openmetrics_its_end() -> None:
    assert text() == ""
    assert openmetrics() == "# EOF\n"


def test_a_counter_has_its_creation_in_a_gauge_of_the_old_format() -> None:
    assert text(ORDERS) == (
        "# HELP orders_total Orders sent.\n"
        "# TYPE orders_total counter\n"
        'orders_total{symbol="AAPL"} 3.0\n'
        "# HELP orders_created Orders sent.\n"
        "# TYPE orders_created gauge\n"
        'orders_created{symbol="AAPL"} 1.70000000025e+09\n'
    )


def test_a_counter_has_its_creation_beside_it_in_openmetrics() -> None:
    assert openmetrics(ORDERS) == (
        "# HELP orders Orders sent.\n"
        "# TYPE orders counter\n"
        'orders_total{symbol="AAPL"} 3.0\n'
        'orders_created{symbol="AAPL"} 1.70000000025e+09\n'
        "# EOF\n"
    )


@pytest.mark.parametrize("write", [text, openmetrics])
def test_an_unknown_creation_is_left_out(write: object) -> None:
    assert "_created" not in write(family(metric("counter", "orders"), created=0.0))  # type: ignore[operator]


def test_a_histogram_counts_up_to_each_bound() -> None:
    definition = metric("histogram", "latency_seconds", "Latency.", labels=("venue",), buckets=(0.1, 1.0))
    assert openmetrics(family(definition, (("x",),), (2.5,), [[1, 0, 2]])) == (
        "# HELP latency_seconds Latency.\n"
        "# TYPE latency_seconds histogram\n"
        "# UNIT latency_seconds seconds\n"
        'latency_seconds_bucket{le="0.1",venue="x"} 1.0\n'
        'latency_seconds_bucket{le="1.0",venue="x"} 1.0\n'
        'latency_seconds_bucket{le="+Inf",venue="x"} 3.0\n'
        'latency_seconds_count{venue="x"} 3.0\n'
        'latency_seconds_sum{venue="x"} 2.5\n'
        'latency_seconds_created{venue="x"} 1.70000000025e+09\n'
        "# EOF\n"
    )


def test_a_bucket_has_its_exemplar_behind_it_in_openmetrics() -> None:
    assert [line for line in openmetrics(LATENCY).splitlines() if "_bucket" in line] == [
        'h_bucket{a="x",le="1.0"} 1.0',
        'h_bucket{a="x",le="+Inf"} 2.0 # {span_id="c",trace_id="a\\"b\\n"} 1.5 1700000000.25',
        'h_bucket{a="y",le="1.0"} 0.0',
        'h_bucket{a="y",le="+Inf"} 1.0 # {trace_id="d"} +Inf 1700000000.0',
    ]


def test_so_has_a_counter() -> None:
    counter = replace(ORDERS, exemplars=(Exemplar(0, 0, (("trace_id", "abc"),), 3.0, 10**18),))
    assert 'orders_total{symbol="AAPL"} 3.0 # {trace_id="abc"} 3.0 1000000000.0\n' in openmetrics(counter)


def test_the_old_format_knows_no_exemplars_and_they_go_as_they_came() -> None:
    exposition, without = Exposition(), replace(LATENCY, exemplars=())
    assert "trace_id" not in text(LATENCY)
    shown = [
        exposition.expose(snapshot(one), openmetrics=new).count(b"trace_id")
        for one, new in ((LATENCY, True), (LATENCY, False), (LATENCY, True), (without, True), (LATENCY, True))
    ]
    assert shown == [2, 0, 2, 0, 2]


def test_labels_are_sorted_with_le_among_them() -> None:
    definition = metric("histogram", "h", labels=("venue", "book"), buckets=())
    written = text(family(definition, (("x", "y"),), (0.0,), [[0]]))
    assert 'h_bucket{book="y",le="+Inf",venue="x"} 0.0\n' in written
    assert 'h_count{book="y",venue="x"} 0.0\n' in written


def test_a_histogram_with_a_negative_bound_has_no_sum_and_no_count() -> None:
    definition = metric("histogram", "slippage", buckets=(-1.0, 0.0))
    written = openmetrics(family(definition, values=(-7.0,), counts=[[2, 1, 0]]))
    assert [line for line in written.splitlines() if not line.startswith("#")] == [
        'slippage_bucket{le="-1.0"} 2.0',
        'slippage_bucket{le="0.0"} 3.0',
        'slippage_bucket{le="+Inf"} 3.0',
        "slippage_created 1.70000000025e+09",
    ]


@pytest.mark.parametrize("name", ["trading_bots_active_total", "trading_open_positions_count", "x_bucket", "level:x"])
def test_a_gauge_keeps_its_name_in_both_formats(name: str) -> None:
    gauge = family(metric("gauge", name), values=(4.0,))
    assert f"# TYPE {name} gauge\n{name} 4.0\n" in text(gauge)
    assert f"# TYPE {name} gauge\n{name} 4.0\n" in openmetrics(gauge)
    (read,) = parse_openmetrics(openmetrics(gauge))
    assert (read.name, read.type, [sample.name for sample in read.samples]) == (name, "gauge", [name])


@pytest.mark.parametrize(
    ("name", "unit", "line"),
    [
        ("volume_bytes_total", "bytes", "# UNIT volume_bytes bytes\n"),
        ("volume_total", "bytes", ""),
        ("lag_milliseconds_total", "ms", ""),
        ("bytes_total", "bytes", ""),
    ],
)
def test_the_unit_stands_only_where_the_name_ends_in_it(name: str, unit: str, line: str) -> None:
    written = openmetrics(family(metric("counter", name, unit=unit)))
    assert [found + "\n" for found in written.splitlines() if "UNIT" in found] == [line] * bool(line)


def test_help_and_label_values_are_escaped() -> None:
    odd = 'a\\b\n"c"'
    gauge = family(metric("gauge", "g", odd, labels=("l",)), ((odd,),))
    assert text(gauge).splitlines() == [
        r'# HELP g a\\b\n"c"',
        "# TYPE g gauge",
        r'g{l="a\\b\n\"c\""} 1.0',
    ]
    assert openmetrics(gauge).splitlines()[0] == r"# HELP g a\\b\n\"c\""


def test_a_lone_surrogate_does_not_fail_the_rest() -> None:
    gauge = family(metric("gauge", "g", labels=("l",)), (("\ud800",), ("fine",)), (1.0, 2.0))
    assert text(gauge).splitlines()[2:] == ['g{l="?"} 1.0', 'g{l="fine"} 2.0']


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0.0"), (-0.0, "-0.0"), (math.nan, "NaN"), (math.inf, "+Inf"), (-math.inf, "-Inf"),
        (999_999.0, "999999.0"), (1e6, "1e+06"), (1_234_567.0, "1.234567e+06"), (-1_234_567.0, "-1234567.0"),
        (1_234_567.5, "1.2345675e+06"), (2.0**53, "9.007199254740992e+15"), (1e16, "1e+16"),
        (5e-324, "5e-324"), (-2.2250738585072014e-308, "-2.2250738585072014e-308"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_go_writes_them(value: float, written: str) -> None:
    assert text(family(metric("gauge", "g"), values=(value,))).endswith(f"\ng {written}\n")


def test_counts_beyond_what_a_double_holds_are_rounded() -> None:
    histogram = family(metric("histogram", "h", buckets=(1.0,)), values=(0.0,), counts=[[2**53 + 1, 2**63]])
    assert 'h_bucket{le="1.0"} 9.007199254740992e+15\n' in text(histogram)
    assert 'h_bucket{le="+Inf"} 9.232379236109517e+18\n' in text(histogram)


def test_a_later_snapshot_shows_new_numbers_and_new_series() -> None:
    exposition = Exposition()
    one, two = (("a",),), (("a",), ("b",))
    definition = metric("gauge", "g", labels=("l",))
    renamed = metric("gauge", "g", labels=("m",))
    shown = [
        exposition.expose(snapshot(*families)).decode().splitlines()[2:]
        for families in (
            [family(definition, one, (1.0,))],
            [family(definition, one, (2.0,))],
            [family(definition, two, (2.0, 3.0))],
            [],
            [family(renamed, one, (2.0,))],
        )
    ]
    assert shown == [
        ['g{l="a"} 1.0'],
        ['g{l="a"} 2.0'],
        ['g{l="a"} 2.0', 'g{l="b"} 3.0'],
        [],
        ['g{m="a"} 2.0'],
    ]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["orders_total"], ["orders_total"]),
        (["orders"], ["orders_total"]),
        (["orders_created", "g"], ["orders_total", "g"]),
        (["h_bucket"], ["h"]),
        (["h_nothing"], []),
        ([], []),
    ],
)
def test_names_choose_families_by_their_own_name_or_that_of_a_sample(names: list[str], found: list[str]) -> None:
    histogram = family(metric("histogram", "h", buckets=(1.0,)), counts=[[1, 0]], created=0.0)
    whole = snapshot(family(metric("counter", "orders"), created=0.0), family(metric("gauge", "g")), histogram)
    written = Exposition().expose(whole, names=names).decode()
    assert [line.split()[2] for line in written.splitlines() if line.startswith("# TYPE")] == found


def test_numbers_that_do_not_belong_to_the_series_are_refused() -> None:
    with pytest.raises(ValueError, match="1 series"):
        text(family(metric("gauge", "g"), values=(1.0, 2.0)))
    with pytest.raises(ValueError, match="1 series of 2 buckets"):
        text(family(metric("histogram", "h", buckets=(1.0,)), counts=[[1, 2, 3]]))
    with pytest.raises(ValueError, match="1 series of 2 buckets"):
        text(family(metric("histogram", "h", buckets=(1.0,)), counts=None))
