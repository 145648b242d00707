"""docs/trading.md tells of every instrument, helper and field, and of no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shmtelemetry import Schema, trading
from tests.unit.test_trading_instruments import DOCUMENTED

PAGE = (Path(__file__).parents[2] / "docs" / "trading.md").read_text()
SCHEMAS = {name: value for name, value in vars(trading).items() if isinstance(value, Schema)}
RINGS = {"MARKET_TICKS", "ORDERS", "TRADES", "STRATEGIES", "SYSTEM_SAMPLES"}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without their backquotes."""
    section = PAGE.split(f"\n{heading}", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


def test_every_public_name_is_on_the_page() -> None:
    assert {name for name in trading.__all__ if f"`{name}" not in PAGE and f"trading.{name}" not in PAGE} == set()


def test_the_table_of_instruments_is_what_they_are() -> None:
    told = {name: (metric, kind.split(",")[0].split(";")[0], labels) for name, metric, kind, labels in rows("## Instr")}
    assert told == {name: (metric, kind, ", ".join(labels)) for name, (metric, kind, labels) in DOCUMENTED.items()}
    public = {name for name in trading.__all__ if name.isupper()}
    assert set(told) == public - set(SCHEMAS) - RINGS


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_table_of_a_schema_is_its_layout(name: str) -> None:
    schema = SCHEMAS[name]
    made = {field: metric.name for field, (metric, *_) in schema.metrics("x").items()}
    expected = [
        [str(offset), field, item.str.lstrip("|"), schema.roles[field].role, made.get(field, "")]
        for field, item, offset in schema.fields()
    ]
    told = [
        [offset, field, kind, re.split(r"[,:]", role)[0], metric]
        for offset, field, kind, role, metric in rows(f"### `{name}`")
    ]
    assert told == expected
    assert f"### `{name}`, {schema.dtype.itemsize} bytes" in PAGE


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_codes_of_a_schema_are_on_the_page(name: str) -> None:
    roles = {field: role for _, field, _, role, _ in rows(f"### `{name}`")}
    for field, role in SCHEMAS[name].roles.items():
        if role.values:
            assert roles[field].partition(": ")[2] == ", ".join(f"{n} {text}" for n, text in role.values.items())
