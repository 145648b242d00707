"""The bytes of a segment, as Python and as C know them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path

import pytest

from shmtelemetry import SAMPLE, get_include, layout, segment_header

STRUCTS = {
    "shmtel_header": layout.HEADER_FIELDS,
    "shmtel_producer_page": (
        "claimed_position", "write_position", "coalesced", "dropped_full", "dropped_timeout", "dropped_no_ring",
        "rejected", "catalogue_length", "closed", "reopened", "exemplars",
    ),
    "shmtel_reader_page": ("read_position", "overwritten", "reader_pid", "reader_role"),
    "shmtel_sample": ("time", "series", "flags", "value"),
    "shmtel_exemplar": ("steps", "series", "room"),
    "shmtel_exemplar_slot": ("time", "value", "length"),
    "shmtel_cell": ("steps", "dropped", "slot", "slot[0].value", "slot[1].time", "slot[1].value"),
}  # fmt: skip
CONSTANTS = ("SHMTEL_MAGIC", "SHMTEL_LAYOUT_VERSION", "SHMTEL_BYTE_ORDER", "SHMTEL_DROP_NEWEST", "SHMTEL_BLOCK",
             "SHMTEL_OVERWRITE_OLDEST", "SHMTEL_CLOCK_MONOTONIC", "SHMTEL_CLOCK_TSC",
             "SHMTEL_EXEMPLAR_LABELS")  # fmt: skip


def compile_and_run(folder: Path, source: str, compiler: list[str], suffix: str) -> str:
    file, program = folder / f"program{suffix}", folder / "program"
    file.write_text(source)
    subprocess.run(
        [*compiler, "-Wall", "-Wextra", "-Werror", "-I", get_include(), str(file), "-o", str(program)], check=True
    )
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def of_c(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Every offset, size and constant of the header, as a C compiler sees it."""
    lines = [f'printf("\\"%s\\": %zu,", "{name}", sizeof({name}));' for name in STRUCTS]
    for struct_name, fields in STRUCTS.items():
        lines += [f'printf("\\"{struct_name}.{f}\\": %zu,", offsetof({struct_name}, {f}));' for f in fields]
    lines += [f'printf("\\"{name}\\": %llu,", (unsigned long long){name});' for name in CONSTANTS]
    body = "\n".join(lines)
    source = f'#include <stdio.h>\n#include "shmtelemetry.h"\nint main(void) {{ {body} printf("\\"end\\": 0"); }}'
    return json.loads("{" + compile_and_run(tmp_path_factory.mktemp("c"), source, ["cc", "-std=gnu11"], ".c") + "}")


def test_the_header_has_the_offsets_of_the_c_struct(of_c: dict[str, int]) -> None:
    format_, offset = layout.HEADER.format, 0
    codes = list(format_.removeprefix("=").replace("16s", "U"))
    assert len(codes) == len(layout.HEADER_FIELDS)
    for name, code in zip(layout.HEADER_FIELDS, codes, strict=True):
        assert of_c[f"shmtel_header.{name}"] == offset, name
        offset += struct.calcsize("=" + code.replace("U", "16s"))
    assert of_c["shmtel_header"] == offset == layout.HEADER.size


def test_the_header_dataclass_names_the_fields_in_that_order() -> None:
    assert tuple(segment_header.Header.__dataclass_fields__) == layout.HEADER_FIELDS


@pytest.mark.parametrize("page", ["shmtel_producer_page", "shmtel_reader_page"])
def test_each_field_of_the_pages_has_the_offset_of_the_c_struct(of_c: dict[str, int], page: str) -> None:
    for name in STRUCTS[page]:
        assert of_c[f"{page}.{name}"] == getattr(layout, name.upper()), name
    assert of_c[page] <= layout.PAGE


def test_positions_and_counters_lie_on_lines_of_their_own(of_c: dict[str, int]) -> None:
    assert (
        of_c["shmtel_producer_page.coalesced"] // layout.LINE
        > of_c["shmtel_producer_page.write_position"] // layout.LINE
    )


def test_a_sample_is_the_c_struct(of_c: dict[str, int]) -> None:
    for name in STRUCTS["shmtel_sample"]:
        assert of_c[f"shmtel_sample.{name}"] == SAMPLE.fields[name][1]
    assert of_c["shmtel_sample"] == SAMPLE.itemsize


def test_a_cell_has_the_size_of_the_c_struct_and_keeps_what_follows_it_aligned(of_c: dict[str, int]) -> None:
    assert of_c["shmtel_cell"] == layout.CELL_SIZE
    assert of_c["shmtel_cell.slot"] == 16
    assert of_c["shmtel_cell.slot[1].time"] == 32
    assert layout.CATALOGUE_RECORD.size % 8 == 0


@pytest.mark.parametrize(("name", "format_"), [("exemplar", layout.EXEMPLAR), ("exemplar_slot", layout.EXEMPLAR_SLOT)])
def test_the_place_of_an_exemplar_is_the_c_struct(of_c: dict[str, int], name: str, format_: struct.Struct) -> None:
    codes = format_.format.removeprefix("=")
    for at, field in enumerate(STRUCTS[f"shmtel_{name}"]):
        assert of_c[f"shmtel_{name}.{field}"] == struct.calcsize("=" + codes[:at])
    assert of_c[f"shmtel_{name}"] == format_.size
    assert all(room % 8 == 0 for room in layout.EXEMPLAR_ROOMS)
    assert layout.EXEMPLAR_ROOMS[-1] == of_c["SHMTEL_EXEMPLAR_LABELS"]


def test_the_constants_are_those_of_c(of_c: dict[str, int]) -> None:
    assert of_c["SHMTEL_MAGIC"] == layout.MAGIC
    assert of_c["SHMTEL_LAYOUT_VERSION"] == layout.LAYOUT_VERSION
    assert of_c["SHMTEL_BYTE_ORDER"] == layout.BYTE_ORDER
    for name, number in layout.POLICIES.items():
        assert of_c[f"SHMTEL_{name.upper()}"] == number
    for name, number in layout.CLOCKS.items():
        assert of_c[f"SHMTEL_CLOCK_{name.upper()}"] == number


@pytest.mark.parametrize("standard", ["c11", "gnu17"])
def test_the_header_compiles_as_c_without_a_warning(tmp_path: Path, standard: str) -> None:
    source = '#define _POSIX_C_SOURCE 200809L\n#include "shmtelemetry.h"\nint main(void) { return 0; }'
    compile_and_run(tmp_path, source, ["cc", f"-std={standard}", "-pedantic"], ".c")


def test_the_header_compiles_as_cpp_and_moves_a_record(tmp_path: Path) -> None:
    source = """
        #include "shmtelemetry.h"
        #include <cstdio>
        int main() {
            static shmtel_producer_page out{}; static shmtel_reader_page in{}; static unsigned char records[4 * 8];
            shmtel_producer producer{}; shmtel_consumer consumer{};
            producer.limit = producer.capacity = consumer.capacity = 4; producer.mask = consumer.mask = 3;
            producer.record_size = consumer.record_size = 8; producer.records = records; consumer.records = records;
            producer.out = &out; producer.in = &in; consumer.out = &out; consumer.in = &in;
            for (uint64_t sent = 0; sent < 100; sent++) {
                if (!shmtel_push(&producer, &sent) || shmtel_drain(&consumer) != 1) return 1;
                uint64_t got; std::memcpy(&got, shmtel_record(&consumer, consumer.position), 8);
                if (got != sent) return 2;
                shmtel_release(&consumer, 1);
            }
            uint64_t many[6] = {0, 1, 2, 3, 4, 5};
            std::printf("%llu", (unsigned long long)shmtel_push_many(&producer, many, 6));
        }"""
    compiler = [os.environ.get("CXX", "c++"), "-std=c++17", "-include", "cstring"]
    assert compile_and_run(tmp_path, source, compiler, ".cpp") == "4"


def test_the_areas_follow_each_other_on_pages() -> None:
    areas = layout.areas(schema_length=5000, record_size=24, capacity=1024, catalogue_size=1)
    places = [areas.producer, areas.reader, areas.ring, areas.catalogue, areas.size]
    assert places == sorted(set(places))
    assert all(place % layout.PAGE == 0 for place in places)
    assert areas.producer >= layout.HEADER.size + 5000
    assert areas.catalogue - areas.ring >= 24 * 1024
