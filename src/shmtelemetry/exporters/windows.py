"""What of a snapshot's windows is exposed, and under which names: gauges that stand beside the metric they are of."""

from collections.abc import Container, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..aggregate.snapshot import Family, FamilyWindows, Floats, Snapshot
from ..metric import Metric

WINDOW, QUANTILE = "window", "quantile"  # names of labels


@dataclass(frozen=True, slots=True)
class Grid:
    """Several gauges for each of some series of a family: one of each column.

    metric: of the gauges; its labels are the family's and `label_names`. series: i8 (n,), indexes in family.labels.
    columns: values of the labels that a column adds. values: f8 (n, columns); NaN: nothing to show. rounded:
    whether they are estimates, of which six digits will do.
    """

    metric: Metric
    family: Family
    series: npt.NDArray[np.int64]
    label_names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    values: Floats
    rounded: bool

    def plain(self) -> Family:
        """The same as a family of its own."""
        rows, columns = np.nonzero(~np.isnan(self.values))
        of_series, series = self.family.labels, self.series[rows].tolist()
        labels = tuple(of_series[at] + self.columns[column] for at, column in zip(series, columns, strict=True))
        return Family(self.metric, self.metric.labels, labels, self.values[rows, columns], np.zeros(len(labels)))


def grids(snapshot: Snapshot, taken: Container[str]) -> Iterator[Grid]:
    """The windows of every family that has some.

    taken: names that metrics have; what would need one of them is left out, and so are the windows of a metric that has
    a label of these names itself.
    """
    for windows in snapshot.windows():
        if not {WINDOW, QUANTILE} & set(windows.family.label_names):
            for grid in _grids(windows):
                if grid.metric.name not in taken and not np.isnan(grid.values).all():
                    yield grid


def window_names(metric: Metric) -> tuple[str, ...]:
    """Those of a counter's or histogram's windows."""
    base = metric.name.removesuffix("_total")
    return tuple(f"{base}_window_{suffix}" for suffix in ("rate", "coverage", "max", "quantile"))


def _grids(windows: FamilyWindows) -> Iterator[Grid]:
    of, kind = windows.family.metric.name.removesuffix("_total"), windows.family.metric.kind
    rate, coverage, largest, quantile = window_names(windows.family.metric)
    lengths = tuple((f"{length}s",) for length in windows.lengths)

    def grid(name: str, help: str, columns: tuple[tuple[str, ...], ...], values: Floats, rounded: bool) -> Grid:
        names = (WINDOW, QUANTILE)[: len(columns[0])]
        labels = (*windows.family.label_names, *names)
        metric = Metric(name, "gauge", f"{help} of {of} in the last seconds.", labels)
        return Grid(metric, windows.family, windows.series, names, columns, values, rounded)

    gained = "Observations a second" if kind == "histogram" else "Gain a second"
    yield grid(rate, gained, lengths, windows.rates, True)
    yield grid(coverage, "Observed divided by attempted", lengths, windows.coverages, False)
    if kind == "histogram":
        yield grid(largest, "Largest observation", lengths, windows.maxima, False)
        columns = tuple((*length, f"{q:g}") for length in lengths for q in windows.wanted)
        yield grid(quantile, "Quantiles", columns, windows.quantiles.reshape(len(windows.series), -1), True)
