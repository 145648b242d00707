"""docs/alerts.md says what every key means."""

from __future__ import annotations

import re
from pathlib import Path

from shmtelemetry.service.alerts import Rules
from shmtelemetry.service.alerts.rules import COMPARISONS, FIGURES, OVER, SECONDS, SEVERITIES

PAGE = (Path(__file__).parents[2] / "docs/alerts.md").read_text()
SOURCE = Path(__file__).parents[2] / "src/shmtelemetry/service/alerts/rules.py"


def test_every_key_and_word_is_on_the_page() -> None:
    keys = set(re.findall(r'\(table, "(\w+)"', SOURCE.read_text())) | {"by", "labels", "window", "divided_by"}
    assert keys >= {"name", "metric", "figure", "over", "absent", "comparison", "threshold", "for", "severity"}
    for word in {*keys, *COMPARISONS, *FIGURES, *OVER, *SEVERITIES}:
        assert f"`{word}`" in PAGE, word
    assert set(re.findall(r"`\d+([a-z])`", PAGE)) <= set(SECONDS)


def test_the_example_is_a_rule() -> None:
    (rule,) = Rules.parse(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0], "docs/alerts.md")
    assert rule.name == "SlowOrders"
