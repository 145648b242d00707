"""Rules of alerts, as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from shmtelemetry.service.alerts import Rules

RULE = """
[[rule]]
name = "Slow"
metric = "wait_seconds"
labels = { symbol = ["AAPL", "MSFT"], side = "buy" }
figure = "p999"
window = 10
by = ["symbol"]
comparison = ">="
threshold = 0.5
for = "2m"
severity = "P1"
summary = "{symbol} waits {value} s {not a place}"
runbook = "docs/slow.md"
"""


def test_a_rule_says_what_it_was_told() -> None:
    (rule,) = Rules.parse(RULE, "rules.toml")
    assert (rule.name, rule.severity, rule.runbook, rule.hold) == ("Slow", "P1", "docs/slow.md", 120.0)
    term = rule.term
    assert (term.metric, term.figure, term.quantile, term.window) == ("wait_seconds", "p999", 0.999, 10)
    assert term.labels == {"symbol": ("AAPL", "MSFT"), "side": ("buy",)}
    assert [rule.holds(value) for value in (0.4, 0.5, 0.6, float("nan"))] == [False, True, True, False]
    assert rule.summary_of(0.512345, {"symbol": "{value}"}) == "{value} waits 0.5123 s {not a place}"


def test_the_package_has_rules_for_trading_and_for_telemetry_itself() -> None:
    names = [rule.name for rule in Rules.load()]
    assert {
        "NoActiveBotsRunning",
        "HighPortfolioDrawdown",
        "HighMarketDataLag",
        "HighRedisErrorRate",
        "RecordsDropped",
        "LowCoverage",
        "SegmentQuarantined",
        "SeriesOverflow",
        "EventsLetGo",
        "HistoryLost",
    } <= set(names)


@pytest.mark.parametrize("comparison", [">", ">=", "<", "<=", "==", "!="])
def test_each_comparison_is_what_it_looks_like(comparison: str) -> None:
    (rule,) = Rules.parse(RULE.replace(">=", comparison), "rules.toml")
    for value in (0.25, 0.5, 0.75):
        assert rule.holds(value) == eval(f"{value} {comparison} 0.5")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('severity = "P1"', 'severity = "P9"', "rule Slow: severity 'P9': expected one of P0, P1, P2"),
        ('severity = "P1"', "", "rule Slow: severity is missing"),
        ('name = "Slow"', "", "rule 1: name is missing"),
        ('name = "Slow"', 'name = "so slow"', "rule so slow: name 'so slow': expected a word such as HighLatency"),
        ('name = "Slow"', "name = 3", "rule 3: name 3: expected a text"),
        ('for = "2m"', 'for = "2 minutes"', "for: expected a whole number and its unit, such as 30s, 5m or 1h"),
        ('for = "2m"', "for = 120", "for 120: expected a text"),
        ("window = 10", "window = 30", "window 30: expected one of 1, 10, 60 seconds"),
        ("window = 10", "window = true", "window True: expected one of 1, 10, 60 seconds"),
        ('figure = "p999"', 'figure = "value"', "window 10: expected none of a value"),
        (
            'figure = "p999"',
            'figure = "p"',
            "figure 'p': expected value, rate, max, coverage, or a quantile such as p50",
        ),
        ('figure = "p999"', 'figure = "p999"\nover = "max"', "over 'max' of a p999: it is of values only"),
        ("threshold = 0.5", 'threshold = "0.5"', "threshold '0.5': expected a number"),
        ("threshold = 0.5", "threshold = nan", "threshold nan: expected a number"),
        ("threshold = 0.5", "", "threshold is missing"),
        ('comparison = ">="', 'comparison = "=>"', "comparison '=>': expected one of >, >=, <, <=, ==, !="),
        ('by = ["symbol"]', 'by = "symbol"', "by 'symbol': expected a list of label names"),
        ('by = ["symbol"]', "by = []", "summary: {symbol} is none of value"),
        ('by = ["symbol"]', 'by = ["symbol"]\nabsent = 0', "does not know which are absent"),
        ('metric = "wait_seconds"', 'metric = "wait seconds"', "metric 'wait seconds': expected a metric's name"),
        ('side = "buy"', "side = 3", "labels: side = 3: expected a text, or a list of texts"),
        ('side = "buy"', "side = []", r"labels: side = \[\]: expected a text, or a list of texts"),
        ('runbook = "docs/slow.md"', 'runbok = "docs/slow.md"', "unknown key 'runbok'"),
        ('runbook = "docs/slow.md"', "divided_by = 3", "divided_by 3: expected a table"),
        ('runbook = "docs/slow.md"', "divided_by = {}", "divided_by: metric is missing"),
        ('runbook = "docs/slow.md"', 'divided_by = {metric = "a", x = 1}', "divided_by: unknown key 'x'"),
        ('runbook = "docs/slow.md"', 'divided_by = {metric = "a*"}', "expected the name of one metric"),
        ("[[rule]]", "[rule]", r"expected \[\[rule\]\] tables and nothing else"),
        ("[[rule]]", "x = 1\n[[rule]]", r"expected \[\[rule\]\] tables and nothing else, got x"),
        ("[[rule]]", "[[rule", "rules.toml is no TOML"),
        ('runbook = "docs/slow.md"', RULE, "rule Slow: there are two of that name"),
    ],
)
def test_a_rule_that_cannot_be_is_one_clear_error(old: str, new: str, why: str) -> None:
    assert old in RULE
    with pytest.raises(ValueError, match=r"rules\.toml") as raised:
        Rules.parse(RULE.replace(old, new), "rules.toml")
    assert raised.match(why)


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.toml cannot be read: No such file"):
        Rules.load(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"bytes.toml is no TOML"):
        Rules.load(tmp_path / "bytes.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(ValueError, match=r"empty.toml: expected \[\[rule\]\] tables and nothing else, got none"):
        Rules.load(tmp_path / "empty.toml")
