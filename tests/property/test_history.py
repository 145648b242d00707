"""Roll-ups to seconds, minutes and hours, against numpy."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from shmtelemetry import Reader, Telemetry
from shmtelemetry.service.history import History, HistoryWriter, Retention

BEGIN = 1_700_000_000
ERROR = 1.011  # of a quantile
values = st.one_of(st.floats(1e-9, 1e3), st.sampled_from([0.0, 1e-6, 1e-6, 5.0]))
looks = st.tuples(
    st.sampled_from([1, 1, 1, 2, 7, 59, 60, 61, 600, 3599, 3600, 4000]),  # seconds after the one before
    st.lists(st.tuples(st.sampled_from("ab"), values), max_size=20),  # observations before it
)


def ends(time: int, resolution: int) -> int:
    """When the second, minute or hour ends in which a time is."""
    return -(-time // resolution) * resolution


@given(looks=st.lists(looks, min_size=1, max_size=12))
@example(looks=[(1, [("a", 1.0)]), (59, [("a", 2.0)]), (1, [("b", 3.0)]), (3600, [])])
def test_rolled_up_figures_are_those_of_all_that_was_emitted_in_their_time(
    namespace: str, looks: list[tuple[int, list[tuple[str, float]]]]
) -> None:
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "history.sqlite"
    emitted: defaultdict[tuple[str, int, int], list[float]] = defaultdict(list)  # (series, resolution, end)
    time = BEGIN
    with (
        folder,
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        HistoryWriter(path, namespace, Retention(seconds=1e6)) as writer,
        History(path) as history,
    ):
        histogram = telemetry.histogram("h", labels=("who",))
        counter = telemetry.counter("c", labels=("who",))
        gauge = telemetry.gauge("g")
        writer.record(reader.snapshot(), time)
        for after, observations in [*looks, (1, []), (7200, [])]:
            time += after
            for who, value in observations:
                histogram.labels(who).observe(value)
                counter.labels(who).inc(value)
                gauge.set(value)
                for resolution in (1, 60, 3600):
                    emitted[who, resolution, ends(time, resolution)].append(value)
            reader.poll()
            writer.record(reader.snapshot(), time)
        assert writer.lost == 0
        for who in {who for who, _, _ in emitted}:
            for resolution in (1, 60, 3600):
                checked = {
                    end: each for (whose, step, end), each in emitted.items() if (whose, step) == (who, resolution)
                }
                check(history, who, resolution, checked)
        last = [value for _, observations in looks for _, value in observations][-1:]
        if last:
            assert history.range("g", {}, time, time, 1) == [(time, last[0])]


def check(history: History, who: str, resolution: int, emitted: dict[int, list[float]]) -> None:
    latest = max(emitted)
    recent = {end: observed for end, observed in emitted.items() if end > latest - 7000 * resolution}

    def figure(name: str, metric: str = "h") -> dict[float, float]:
        return dict(history.range(metric, {"who": who}, min(recent), latest, resolution, name))

    rounding = 1e-12 * math.fsum(value for each in emitted.values() for value in each)  # totals are subtracted
    counts, sums, rates = figure("count"), figure("sum"), figure("rate")
    maxima, gains, totals = figure("max"), figure("rate", "c_total"), figure("value", "c_total")
    for end, observed in recent.items():
        assert counts.pop(end) == len(observed)
        assert math.isclose(sums.pop(end), math.fsum(observed), rel_tol=1e-9, abs_tol=rounding)
        assert rates[end] == len(observed) / resolution
        assert math.isclose(gains.pop(end) * resolution, math.fsum(observed), rel_tol=1e-9, abs_tol=rounding)
        before = math.fsum(value for other, each in emitted.items() if other <= end for value in each)
        assert math.isclose(totals[end], before, rel_tol=1e-9)
        largest = max(observed)
        assert largest <= maxima[end] <= largest * ERROR**2
        for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            expected = float(np.quantile(observed, q, method="inverted_cdf"))
            assert expected / ERROR <= figure(name)[end] <= expected * ERROR + 1e-12
    assert not any(counts.values())
    assert not any(sums.values())
    assert not any(gains.values())
