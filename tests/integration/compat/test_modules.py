"""What can be imported, and how it can be called, as prometheus_client's."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path

import prometheus_client
import pytest

from shmtelemetry.compat import prometheus_client as ours

DOCUMENT = Path(__file__).parents[3] / "docs" / "prometheus_client.md"
MODULES = sorted(module.name for module in pkgutil.iter_modules(prometheus_client.__path__))
NOT_HERE = [line.partition("not here")[0] for line in DOCUMENT.read_text().splitlines() if "not here" in line]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_here_or_is_said_to_be_missing(name: str) -> None:
    if not any(re.search(rf"`{name}`", line) for line in NOT_HERE):
        importlib.import_module(f"{ours.__name__}.{name}")


@pytest.mark.parametrize("name", ["utils", "validation", "decorator", "parser", "samples"])
def test_what_is_handed_on_is_prometheus_clients_own(name: str) -> None:
    here = importlib.import_module(f"{ours.__name__}.{name}")
    there = importlib.import_module(f"prometheus_client.{name}")
    assert all(getattr(here, shown) is getattr(there, shown) for shown in here.__all__)


FUNCTIONS = ["start_http_server", "start_wsgi_server", "push_to_gateway", "pushadd_to_gateway"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_and_shows_the_same_parameters(name: str) -> None:
    here, there = (inspect.signature(getattr(module, name)).parameters for module in (ours, prometheus_client))
    assert list(here) == list(there)
    assert here["registry"].default in (ours.REGISTRY, inspect.Parameter.empty)


def test_a_server_takes_its_certificate_by_position() -> None:
    server, thread = ours.start_http_server(0, "127.0.0.1", ours.REGISTRY, None, None)
    server.shutdown()
    server.server_close()
    thread.join()


METHODS = [("Counter", "inc"), ("Counter", "labels"), ("Gauge", "inc"), ("Gauge", "dec"), ("Gauge", "set")]
METHODS += [("Histogram", "observe"), ("Histogram", "labels"), ("Summary", "observe")]


@pytest.mark.parametrize(("kind", "method"), METHODS)
def test_a_compiled_method_shows_its_parameters(kind: str, method: str) -> None:
    here, there = (taken(getattr(getattr(module, kind), method)) for module in (ours, prometheus_client))
    assert here == there


def taken(method: Callable[..., object]) -> list[tuple[str | None, inspect._ParameterKind]]:
    """Names, where a caller may use them, and kinds."""
    found = list(inspect.signature(method).parameters.values())[1:]  # without self
    return [(None if item.kind.name.startswith("VAR") else item.name, item.kind) for item in found]
