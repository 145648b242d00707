"""What must stay level in the course of a run, and whether it did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


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
        first, second = np.triu_indices(len(self.times), 1)
        rises = (self.values[second] - self.values[first]) / (self.times[second] - self.times[first])
        return float(np.median(rises))

    @property
    def growth(self) -> float:
        return self.slope * float(self.times[-1] - self.times[0])

    @property
    def is_level(self) -> bool:
        return self.growth <= self.limit

    @property
    def line(self) -> np.ndarray:
        """The slope through the medians, at the times."""
        return np.median(self.values) + self.slope * (self.times - np.median(self.times))

    def __str__(self) -> str:
        verdict = "level" if self.is_level else "GROWS"
        median = np.median(self.values)
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
        place.plot(
            level.times / 60, level.line, label=f"{level.growth:+.3f} {level.unit} in the run, limit {level.limit:g}"
        )
        place.set_title(level.what, loc="left", fontsize="medium")
        place.set_ylabel(level.unit)
        place.set_ylim(bottom=0)
        place.legend(loc="lower right")
    axes[-1].set_xlabel("minutes")
    figure.suptitle(title)
    figure.savefig(path, dpi=100)
