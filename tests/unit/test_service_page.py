"""docs/service.md tells of every endpoint, message and setting of the service, and of no others."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from shmtelemetry.cli import main

pytest.importorskip("fastapi")

from fastapi import FastAPI

from shmtelemetry.service import messages, stream
from shmtelemetry.service.routes import GROUPS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/service.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def first_cells(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_every_endpoint_is_told() -> None:
    app = FastAPI()
    for group in GROUPS:
        app.router.routes.extend(group.routes)
    paths = app.openapi()["paths"]
    there = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert set(first_cells(section("REST"))) == there


def test_every_query_parameter_is_told() -> None:
    app = FastAPI()
    for group in GROUPS:
        app.router.routes.extend(group.routes)
    for methods in app.openapi()["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] != "next":  # which the service gives itself
                    assert re.search(rf"[`?{{]{re.escape(parameter['name'])}[`=}}]", PAGE), parameter["name"]


def test_every_message_is_told() -> None:
    ours, theirs = section("WebSocket").split("From a client")
    sent = set(re.findall(r'message\("(\w+)"', Path(stream.__file__).read_text())) | {"metrics_update", messages.ALERTS}
    assert set(first_cells(ours)) == sent
    assert set(first_cells(theirs)) == {kind.__struct_config__.tag for kind in messages.Asked.__args__}


def test_every_documented_variable_is_told_with_its_option_and_default() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| .*?`(--[\w-]+)`", section("Settings"), re.MULTILINE))
    options = [option for option in main.commands["serve"].params if isinstance(option, click.Option)]
    there = {
        variable: option.opts[0]
        for option in options
        if isinstance(option.envvar, list)
        for variable in option.envvar
        if not variable.startswith("SHMTEL_")
    }
    assert told == there
    defaults = {option.opts[0]: option.default for option in options}
    for variable, option in told.items():
        if option not in ("--listen", "--cors-origin"):
            row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{variable}` |"))
            assert row.endswith(f"| `{defaults[option]}` |"), row
