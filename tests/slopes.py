"""What must stay level in the course of a run, and whether it did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

WARM = 0.25  # of a run, in which everything comes into use for the first time


@dataclass(frozen=True)
class Level:
    """A figure that must not grow. limit: by how much it may grow in a run, whatever its length."""

    what: str
    unit: str
    times: np.ndarray  # seconds
    values: np.ndarray
    limit: float

    @property
    def slope(self) -> float:
        """A second, by Theil and Sen: the median of the slopes between all pairs, which outliers do not move.

        Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 63 (1968).
        """
        times, values = self._warm
        first, second = np.triu_indices(len(times), 1)
        return float(np.median((values[second] - values[first]) / (times[second] - times[first])))

    @property
    def growth(self) -> float:
        times, _ = self._warm
        return self.slope * float(times[-1] - times[0])

    @property
    def is_level(self) -> bool:
        return self.growth <= self.limit

    @property
    def line(self) -> tuple[np.ndarray, np.ndarray]:
        """The slope through the medians."""
        times, values = self._warm
        return times, np.median(values) + self.slope * (times - np.median(times))

    @property
    def _warm(self) -> tuple[np.ndarray, np.ndarray]:
        warm = self.times >= self.times[0] + WARM * (self.times[-1] - self.times[0])
        return self.times[warm], self.values[warm]

    def __str__(self) -> str:
        verdict = "level" if self.is_level else "GROWS"
        median = np.median(self._warm[1])
        return (
            f"{verdict}  {self.what}: {median:,.2f} {self.unit}, {self.growth:+.3f} in the run (limit {self.limit:g})"
        )


def plot(levels: list[Level], title: str, path: Path) -> None:
    """All of them below each other, each with its slope."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(levels), sharex=True, figsize=(10, 2.2 * len(levels)), layout="constrained")
    for level, place in zip(levels, axes, strict=True):
        place.plot(level.times / 60, level.values, ".", markersize=3)
        times, line = level.line
        place.plot(times / 60, line, label=f"{level.growth:+.3f} {level.unit} in the run, limit {level.limit:g}")
        place.set_title(level.what, loc="left", fontsize="medium")
        place.set_ylabel(level.unit)
        place.set_ylim(bottom=0)
        place.legend(loc="lower right")
    axes[-1].set_xlabel("minutes")
    figure.suptitle(title)
    figure.savefig(path, dpi=100)
