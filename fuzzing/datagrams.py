"""Coverage-guided fuzzing of StatsD: an input is a datagram, which comes twice.

Wanted: each line is taken, or refused by a reason; metrics, series and members of sets stay within their bounds, which
are small here so that they are reached; what is refused makes no metric.
"""

import atheris
from harness import fuzz, telemetry

with atheris.instrument_imports(include=["shmtelemetry.sources"]):
    from shmtelemetry.sources import statsd_metrics
    from shmtelemetry.sources.statsd import StatsdSource

REASONS = {
    "syntax", "encoding", "type", "value", "rate", "tags", "labels", "name", "set", "event", "metrics",
}  # fmt: skip
BOUND = 8

statsd_metrics.MAX_METRICS = statsd_metrics.MAX_KNOWN = statsd_metrics.MAX_MEMBERS = BOUND


def take(stored: bytes) -> None:
    with telemetry() as made:
        metrics = (source := StatsdSource(made, None, None, 10))._metrics
        metrics.intake._max_series = BOUND
        refused = metrics.intake.refused
        taken = 0
        for times in (1, 2):
            taken += source._take(stored)
            assert taken + sum(refused.values()) == times * len([line for line in stored.split(b"\n") if line])
            assert sum(len(members) for _, members in metrics._sets.values()) <= BOUND
            metrics.flush()
        assert refused.keys() <= REASONS
        assert len(metrics._known) <= BOUND
        assert len(metrics.intake._series) <= BOUND
        assert len(metrics._defined) <= min(BOUND, taken + refused.get("set", 0))
        assert made.stats().rejected == 0  # what an instrument would refuse is refused before


fuzz(take)
