"""Data flows one way, and so do imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "shmtelemetry"  # what is installed has no .pyx files
ROOT = "shmtelemetry"

# Each of these may import what stands before it, and nothing else of the package.
PRODUCER_SIDE = (
    "errors", "version", "logs", "config", "_timer", "_mapping", "_clock", "_fields", "layout", "metric", "schema",
    "liveness", "files",
    "segment_header", "segment_space", "segment", "accounting", "recordings",
    "producer", "_header", "_threads", "_writer", "_ring", "_entry", "_exemplars", "_instruments", "telemetry",
    "trading.schemas", "trading.ready", "trading.instruments", "trading.rings", "trading.helpers", "trading",
    "sources.intake", "_drain", "sources.csv._rows", "sources.csv.columns", "sources.csv.place", "sources.csv.files",
    "sources.csv.feed", "sources.csv.ingest", "sources.csv.beside", "sources.csv",
    "sources.sockets",
    "sources.definitions", "sources.messages", "sources.processors", "sources.recorder", "sources.broker",
    "sources.inbox", "sources.zmq", "sources.lines", "sources.statsd_metrics", "sources.statsd",
)  # fmt: skip
LEFT = {
    "segment_header",
    "segment_space",
    "segment",
    "producer",
    "_header",
    "_threads",
    "_writer",
    "_ring",
    "_entry",
    "_exemplars",
    "_instruments",
    "telemetry",
    "_drain",
    "following",
    "consumer",
    "tap",
}  # whatever knows a ring
BOTH_ENDS = {"sidecar", "recording", "serving", "cli", "demo", "compat", "contrib"}  # may see rings, reader, exporters
JOINS = {"service.app", "service.counted", "service.collectors.look"}  # meet a reader, or emit figures of their own
SHOWS = {"aggregate.snapshot", "metric", "schema", "errors", "version", "logs", "listen"}
SERVES = SHOWS | {
    "exporters.answers", "exporters.connections", "exporters.http", "exporters.shown", "trading.schemas",
    "files", "liveness", "config", "events",
}  # fmt: skip

_FROM = re.compile(r"^\s*from +(\.*)([\w.]*) +c?import +(\([^)]*\)|[^\n]+)", re.MULTILINE)
_IMPORT = re.compile(r"^\s*c?import +([\w.]+)", re.MULTILINE)


def module_of(path: Path) -> str:
    """The dotted name below the package: "" for its __init__."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def resolve(path: Path, level: int, module: str) -> str | None:
    """The module below the package that `from <level dots><module>` means; None outside of it."""
    if level == 0:
        return module.removeprefix(ROOT).removeprefix(".") if module.split(".")[0] == ROOT else None
    here = list(path.relative_to(PACKAGE).parent.parts)
    here = here[: len(here) - (level - 1)]
    return ".".join([*here, *([module] if module else [])])


def statements(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """(dots, module, names) of every import."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                yield node.level, node.module or "", [alias.name for alias in node.names]
            elif isinstance(node, ast.Import):
                yield from ((0, alias.name, []) for alias in node.names)
    else:
        for dots, module, names in _FROM.findall(text):
            yield len(dots), module, re.findall(r"\w+", names)
        yield from ((0, module, []) for module in _IMPORT.findall(text))


def imports(path: Path) -> set[str]:
    """The modules of the package that a file imports; names of a package are resolved to their modules."""
    found = set()
    for level, module, names in statements(path):
        base = resolve(path, level, module)
        if base is None:
            continue
        submodules = {f"{base}.{name}".lstrip(".") for name in names} & MODULES
        found |= submodules or {base}
    return found


FILES = sorted(path for suffix in ("py", "pyx", "pxd") for path in PACKAGE.rglob(f"*.{suffix}"))
MODULES = {module_of(path) for path in FILES}
IMPORTS: dict[str, set[str]] = {}
for _path in FILES:
    IMPORTS.setdefault(module_of(_path), set()).update(imports(_path) - {module_of(_path)})


def top(module: str) -> str:
    return module.split(".")[0]


def test_the_imports_of_compiled_modules_are_seen_too() -> None:
    assert {"_ring", "_clock", "metric", "_timer"} <= IMPORTS["_instruments"]
    assert {"_writer", "segment", "producer", "layout"} <= IMPORTS["_ring"]


@pytest.mark.parametrize("module", PRODUCER_SIDE)
def test_the_producer_side_imports_only_what_stands_before_it(module: str) -> None:
    assert IMPORTS[module] <= set(PRODUCER_SIDE[: PRODUCER_SIDE.index(module)])


def test_consumers_and_taps_are_built_on_the_ring_alone() -> None:
    ring = {"errors", "layout", "segment", "recordings", "_mapping", "_header"}
    assert IMPORTS["_drain"] <= ring
    for module in ("following", "consumer", "tap"):
        assert IMPORTS[module] <= {*ring, "_drain", "following"}


def test_the_aggregate_knows_no_ring_and_no_reader() -> None:
    for module, imported in IMPORTS.items():
        if top(module) == "aggregate":
            assert {top(name) for name in imported} <= {
                "aggregate", "errors", "files", "layout", "metric", "schema", "version", "_clock", "_mapping",
            }, module  # fmt: skip


def joins_both_ends(module: str) -> bool:
    return top(module) in BOTH_ENDS or module in JOINS


@pytest.mark.parametrize(("package", "allowed"), [("exporters", SHOWS), ("service", SERVES)])
def test_exporters_and_the_service_see_only_snapshots_and_schemas(package: str, allowed: set[str]) -> None:
    for module, imported in IMPORTS.items():
        if top(module) == package and not joins_both_ends(module):
            assert {name for name in imported if top(name) != package} <= allowed, module


def test_only_the_reader_joins_rings_and_aggregates() -> None:
    for module, imported in IMPORTS.items():
        tops = {top(name) for name in imported}
        if tops & LEFT and "aggregate" in tops:
            assert top(module) == "reader" or joins_both_ends(module), module


def test_only_the_sidecar_the_commands_and_the_demo_see_both_ends() -> None:
    for module, imported in IMPORTS.items():
        tops = {top(name) for name in imported}
        if "exporters" in tops and tops & {*LEFT, "reader"}:
            assert joins_both_ends(module), module


def test_nobody_below_imports_the_sidecar_or_the_commands() -> None:
    for module, imported in IMPORTS.items():
        if not joins_both_ends(module):
            assert not {top(name) for name in imported} & BOTH_ENDS, module


def test_every_module_can_be_reached_by_this_test() -> None:
    assert {"", "_ring", "aggregate.snapshot", "reader", "exporters.prometheus"} <= MODULES
    unknown = {name for imported in IMPORTS.values() for name in imported if name not in MODULES}
    assert not unknown
