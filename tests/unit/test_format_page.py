"""docs/format.md, layout.py and the C header say the same."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import fields

import numpy as np
import pytest

from shmtelemetry import SAMPLE, Schema, layout
from shmtelemetry.metric import MERGES, UNITS, Metric
from shmtelemetry.schema import MAX_LABEL_BYTES, MAX_LABEL_FIELDS, MAX_METRICS, ROLES, Role
from shmtelemetry.telemetry import MAX_LABEL_LENGTH
from tests.format_page import PAGE, items, numbered, offsets, rows
from tests.native import compiled

STRUCTS = {"header": "shmtel_header"} | {
    name: name
    for name in (
        "shmtel_producer_page", "shmtel_reader_page", "shmtel_sample", "shmtel_cell", "shmtel_exemplar",
        "shmtel_exemplar_slot",
    )
}  # fmt: skip
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def of_c(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """(offset, size) of every member that the page names, and of each structure, as a C compiler sees them."""
    lines = []
    for name, struct in STRUCTS.items():
        lines += [f'SAY("{name}", 0, sizeof({struct}));']
        lines += [
            f'SAY("{name}.{item.name}", offsetof({struct}, {item.name}), sizeof((({struct} *)0)->{item.name}));'
            for item in items(name)
        ]
    folder = tmp_path_factory.mktemp("offsets")
    (folder / "offsets.c").write_text(
        '#include "shmtelemetry.h"\n#include <stdio.h>\n'
        '#define SAY(name, offset, size) printf("\\"%s\\": [%zu, %zu],", name, (size_t)(offset), (size_t)(size))\n'
        f'int main(void) {{ {" ".join(lines)} printf("\\"end\\": [0, 0]"); return 0; }}\n'
    )
    program = compiled(folder / "offsets.c", folder)
    said = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    found: dict[str, list[int]] = json.loads("{" + said + "}")
    return found


@pytest.mark.parametrize("name", STRUCTS)
def test_each_structure_has_the_offsets_and_types_of_c(of_c: dict[str, list[int]], name: str) -> None:
    for item in items(name):
        assert [item.offset, item.size] == of_c[f"{name}.{item.name}"], item
    last = items(name)[-1]
    if name not in ("shmtel_reader_page", "shmtel_producer_page"):
        assert last.offset + last.size == of_c[name][1]


def test_the_header_is_layouts() -> None:
    assert offsets("header") == layout.HEADER_OFFSETS
    meanings = {item.name: item.meaning for item in items("header")}
    assert int(meanings["magic"].split(",")[0], 16) == layout.MAGIC
    assert meanings["layout_version"] == str(layout.LAYOUT_VERSION)
    assert int(meanings["byte_order"].split()[0], 16) == layout.BYTE_ORDER
    assert numbered(meanings["policy"]) == layout.POLICIES
    assert re.findall(r"(\d) (?:CLOCK_|the )(\w+)", meanings["clock"]) == [
        (str(number), name.upper()) for name, number in layout.CLOCKS.items()
    ]
    assert f"page_up({layout.HEADER.size} + `schema_length`)" in TEXT
    assert f"at most {layout.MAX_SCHEMA_LENGTH:,}" in meanings["schema_length"]
    assert meanings["record_size"] == f"1 to {layout.MAX_RECORD_SIZE:,}"
    assert layout.MAX_CAPACITY == 2**32
    flags = re.findall(r"(\d): (\w+)", meanings["flags"])
    assert flags == [(str(layout.FLAG_INSTRUMENTS), "instruments"), (str(layout.FLAG_HEIR), "heir")]


@pytest.mark.parametrize("page", ["shmtel_producer_page", "shmtel_reader_page"])
def test_the_pages_are_layouts(page: str) -> None:
    for name, offset in offsets(page).items():
        assert getattr(layout, name.upper()) == offset


def test_the_roles_of_readers_are_layouts() -> None:
    (meaning,) = (item.meaning for item in items("shmtel_reader_page") if item.name == "reader_role")
    found = re.findall(r"(\d) (?:a )?(\w+)", meaning)
    assert {f"ROLE_{name.upper()}": int(number) for number, name in found} == {
        name: value for name, value in vars(layout).items() if name.startswith("ROLE_")
    }


def test_a_sample_is_the_dtype() -> None:
    assert [(item.name, item.offset) for item in items("shmtel_sample")] == [
        (name, SAMPLE.fields[name][1]) for name in SAMPLE.names
    ]


def test_the_catalogues_kinds_are_layouts() -> None:
    kinds = {f"KIND_{name.upper()}": int(kind) for kind, name, _ in rows("kind", "name", "payload")}
    assert kinds == {name: value for name, value in vars(layout).items() if name.startswith("KIND_")}
    assert list(offsets("catalogue record").values()) == [0, 2, 4]
    assert layout.CATALOGUE_RECORD.size == 8
    series = rows("kind", "name", "payload")[1][2]
    assert f"its cell ({layout.CELL_SIZE})" in series
    assert f"at most {MAX_LABEL_LENGTH:,}" in series
    assert f"at most {layout.EXEMPLAR_ROOMS[-1]} |" in TEXT


def test_the_locks_are_layouts() -> None:
    assert [int(row[0]) for row in rows("byte", "of the file", "who holds it")] == [
        layout.LOCK_PRODUCER, layout.LOCK_CONSUMER, layout.LOCK_READER
    ]  # fmt: skip


def test_the_words_of_schemas_and_metrics_are_those_of_python() -> None:
    assert f"{', '.join(UNITS)}, or none" in TEXT
    assert "(time, label, counter, total, gauge, histogram or attribute)" in " ".join(TEXT.split())
    assert set(ROLES) == {"time", "label", "counter", "total", "gauge", "histogram", "attribute"}
    assert f"{', '.join(MERGES[:-1])} or {MERGES[-1]};" in TEXT
    numbers = f"{MAX_METRICS} metrics, and {MAX_LABEL_FIELDS} label fields of {MAX_LABEL_BYTES:,} bytes together"
    assert numbers in " ".join(TEXT.split())


def test_every_key_of_a_fields_role_is_said() -> None:
    for item in fields(Role):
        assert f"`{item.name}`" in TEXT, item.name


def test_the_examples_of_a_schema_and_of_a_metric_are_read() -> None:
    schema, metric = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    read = Schema.from_json(schema.encode())
    assert read.dtype == np.dtype([("ts", "<u8"), ("symbol", "S8"), ("latency_ns", "<u4"), ("qty", "<u4")])
    assert set(read.metrics("p")) == {"latency_ns", "qty"}
    assert Metric.from_json(metric.encode()).buckets == (1.0, 10.0, 100.0)
