"""shmtelemetry.hpp: without exceptions and RTTI, with record types that are checked at compile time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shmtelemetry import Consumer, Reader, get_include
from shmtelemetry.segment import attach, segment_names
from tests.native import HERE, SANITIZED, WARNINGS, compiled
from tests.peers import need


def test_it_does_at_its_edges_what_it_says(namespace: str, tmp_path: Path) -> None:
    program = compiled(HERE / "face.cpp", tmp_path, *SANITIZED)
    done = subprocess.run([program, namespace], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    with Consumer("recorder", namespace) as consumer:
        assert consumer.read()["seq"].tolist() == list(range(4, 20))
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("c_total", a="1") == 5.5
        assert snapshot.value("price") == 1.5
        assert snapshot.histogram("h_ms").count == 2
        assert snapshot.producers["p"].rejected == 2
    for name in segment_names(namespace):
        segment = attach(name)
        assert segment.producer == "recorder"
        segment.unlink()
        segment.close()


@pytest.mark.parametrize(("compiler", "standard"), [("g++", "c++20"), ("clang++", "c++17")])
def test_it_compiles_without_a_warning(tmp_path: Path, compiler: str, standard: str) -> None:
    flags = [f"-std={standard}", *WARNINGS, "-Wshadow", "-fno-exceptions", "-fno-rtti", "-fsyntax-only"]
    command = [need(compiler), *flags, "-I", get_include(), str(HERE / "face.cpp")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("member", "field", "complaint"), [
    ("double price", ".label()", "a label is no floating-point number"),
    ("unsigned ts", ".time()", "a time is an integer of 8 bytes"),
    ("char name[8]", ".counter()", "counter, total, gauge and histogram are numbers"),
    ("void *place", "", "a member of a record is a number"),
    ("int many[3]", "", "a member of a record is a number"),
    ("int x; virtual ~R() {} int y", "", "a record is plain memory"),
    ("char name[65537]", "", "a record has at most 64 KiB"),
])  # fmt: skip
def test_a_record_that_cannot_be_is_an_error_of_the_compiler(
    tmp_path: Path, member: str, field: str, complaint: str
) -> None:  # fmt: skip
    name = member.rsplit(" ", 1)[-1].removeprefix("*").partition("[")[0]
    (tmp_path / "wrong.cpp").write_text(
        f'#include "shmtelemetry.hpp"\nstruct R {{ {member}; }};\n'
        "template <> struct shmtel::Description<R> {\n"
        f"    static constexpr shmtel::Field fields[] = {{SHMTEL_MEMBER(R, {name}){field}}};\n}};\n"
        'int main() { shmtel::Records<R> records("r"); }\n'
    )
    command = ["c++", "-std=c++17", "-fsyntax-only", "-I", get_include(), str(tmp_path / "wrong.cpp")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert complaint in done.stderr
