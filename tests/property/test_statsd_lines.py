"""Whatever comes as a datagram: nothing crashes, nothing grows without a bound, and what is refused is counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shmtelemetry import Reader, Telemetry
from shmtelemetry.sources import statsd_metrics
from shmtelemetry.sources.intake import MAX_CATALOGUE, Refused
from shmtelemetry.sources.lines import legal
from shmtelemetry.sources.statsd import StatsdSource
from shmtelemetry.sources.statsd_metrics import MAX_METRICS, Metrics

REASONS = {
    "syntax", "encoding", "type", "value", "rate", "tags", "labels", "name", "set", "event", "metrics", "space",
}  # fmt: skip

names = st.sampled_from(["a", "b.c", "x_ms", "y_seconds", "z_total", "ingest_items", "9"]) | st.text(max_size=6)
numbers = st.sampled_from(["1", "-1", "+2.5", "0", "nan", "inf", "1e308", "1e999", "", "x"]) | st.floats().map(str)
values = st.lists(numbers, min_size=1, max_size=3).map(":".join) | st.text(max_size=6)
kinds = st.sampled_from(["c", "g", "ms", "h", "d", "s"]) | st.text(max_size=3)
rates = st.sampled_from(["", "|@0.5", "|@1", "|@0", "|@1e-300", "|@nan", "|@", "|c:abc", "|T12", "|x"])
tags = st.lists(st.text(max_size=4) | st.sampled_from(["k:v", "le:1", "__x:y", "k", "a:b:c"]), max_size=3)
lines = st.builds(
    lambda name, value, kind, rate, tags: f"{name}:{value}|{kind}{rate}" + (f"|#{','.join(tags)}" if tags else ""),
    names, values, kinds, rates, tags,
)  # fmt: skip
datagrams = st.lists(lines.map(lambda line: line.encode("utf-8", "surrogatepass")) | st.binary(max_size=20), max_size=5)


@pytest.fixture
def telemetry(namespace: str) -> Iterator[Telemetry]:
    with Reader(namespace, ephemeral=True), Telemetry("source", namespace) as telemetry:
        yield telemetry


@given(datagrams)
@example([b"a:" + b"1:" * 30_000 + b"1|ms|@0.01", b"|" * 60_000, b":" * 60_000, b"a:1|c|#" + b"," * 60_000])
@example([b"a:1|c|#" + b",".join(b"t%d" % n for n in range(10_000)), b"a" * 60_000 + b":1|c"])
@example(["a:٣|c".encode(), b"a:1_0|c", b"a: 1|c", b"a:1|c|#x:\xed\xa0\x80"])
def test_each_line_is_taken_or_refused(namespace: str, come: list[bytes]) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("source", namespace, capacity=1024) as telemetry:
        source = StatsdSource(telemetry, None, None, 10)
        intake = source._metrics.intake
        intake._max_series = 40
        datagram = b"\n".join(come)
        taken = source._take(datagram)
        assert taken + sum(intake.refused.values()) == sum(1 for line in datagram.split(b"\n") if line)
        assert set(intake.refused) <= REASONS
        assert len(intake._series) <= 40
        source._metrics.flush()
        assert telemetry.stats().holds
        assert telemetry.stats().rejected == 0  # what an instrument would refuse is refused before
        reader.poll()


@given(names)
def test_a_name_is_made_legal(name: str) -> None:
    assert not name or (legal(name).isascii() and legal(name).isidentifier())


def test_names_tags_and_members_without_end_are_bounded(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statsd_metrics, "MAX_KNOWN", 100)
    monkeypatch.setattr(statsd_metrics, "MAX_MEMBERS", 500)
    metrics = Metrics(telemetry)
    refused = 0
    for number in range(2 * MAX_METRICS):
        for line in (f"n{number}:1|c", f"g:1|g|#x:{number}", f"u:{number}|s"):
            try:
                metrics.take(line)
            except Refused:
                refused += 1
    assert len(metrics._defined) == MAX_METRICS
    assert len(metrics._known) <= 100
    assert refused == (2 * MAX_METRICS - (MAX_METRICS - 2)) + (2 * MAX_METRICS - 500)
    metrics.flush()
    metrics.take("u:again|s")


@pytest.mark.slow
def test_long_tags_fill_no_catalogue(telemetry: Telemetry) -> None:
    metrics = Metrics(telemetry)
    for number in range(3000):
        tags = ",".join(f"t{tag}:{'x' * 240}{number}" for tag in range(32))
        metrics.take(f"a:1|c|#{tags}")
        metrics.take(f"n{number % 900}:1|c|#{tags}")
    assert MAX_CATALOGUE <= telemetry.catalogue_length < 2 * MAX_CATALOGUE
    assert metrics.intake.overflowed > 0
    assert not metrics.intake.refused
