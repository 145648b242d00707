"""The alerts' cases as one file for `promtool test rules`.

https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .catalogue import Catalogue
from .entries import Alert, Case
from .rules import words_read


@dataclass
class _Block:
    """Cases that share a storage, since nothing of one is read by the alert of another: promtool makes few of them."""

    interval: str
    series: dict[str, str] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    tests: list[Any] = field(default_factory=list)

    def has_room(self, alert: Alert, case: Case, read: set[str]) -> bool:
        apart = not _names(case.series) & self.read and not _names(self.series) & read
        return case.interval == self.interval and apart and all(alert.name != test["alertname"] for test in self.tests)


def test_document(
    catalogue: Catalogue, fired: Callable[[Alert, str, dict[str, str]], dict[str, Any]]
) -> dict[str, Any]:
    """fired: gives what an alert that fires has, by its value and labels."""
    blocks: list[_Block] = []
    for alert in catalogue.alerts.values():
        read = words_read(catalogue, alert)
        for case in alert.tests:
            block = next((block for block in blocks if block.has_room(alert, case, read)), None)
            if block is None:
                blocks.append(block := _Block(case.interval))
            block.series.update(case.series)
            block.read |= read
            fires = [fired(alert, value, labels) for labels, value in zip(case.fires, case.values, strict=True)]
            block.tests.append({"eval_time": case.at, "alertname": alert.name, "exp_alerts": fires})
    return {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": block.interval,
                "input_series": [{"series": series, "values": values} for series, values in block.series.items()],
                "alert_rule_test": block.tests,
            }
            for block in blocks
        ],
    }


def _names(series: Iterable[str]) -> set[str]:
    return {one.partition("{")[0] for one in series}
