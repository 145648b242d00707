"""The headers for C and C++ as a user's compiler meets them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from shmtelemetry import get_include
from shmtelemetry.__main__ import main
from tests.native import WARNINGS, compiled
from tests.peers import need

USE = '#include "shmtelemetry_producer.h"\nint main(void) { shmtel_close(NULL); return 0; }\n'
COMPILERS = [("gcc", "c11"), ("clang", "c11"), ("gcc", "gnu17"), ("g++", "c++17"), ("clang++", "c++17"),
             ("g++", "c++20")]  # fmt: skip


def compile_text(
    folder: Path, compiler: str, standard: str, text: str, *flags: str
) -> subprocess.CompletedProcess[str]:
    file = folder / ("use.cpp" if "++" in compiler else "use.c")
    file.write_text(text)
    command = [need(compiler), f"-std={standard}", *WARNINGS, "-O2", *flags, str(file), "-o", str(folder / "use")]
    return subprocess.run([*command, "-pthread"], capture_output=True, text=True)


@pytest.mark.parametrize(("compiler", "standard"), COMPILERS)
@pytest.mark.parametrize("disabled", [(), ("-DSHMTEL_DISABLE",)])
def test_they_compile_without_a_warning(
    tmp_path: Path, compiler: str, standard: str, disabled: tuple[str, ...]
) -> None:
    everything = ["-Wconversion", "-Wshadow", "-Wno-sign-conversion", *disabled, "-I", get_include()]
    done = compile_text(tmp_path, compiler, standard, USE, *everything)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("header", sorted(path.name for path in Path(get_include()).glob("shmtelemetry*.h")
                                          if path.name != "shmtelemetry_threads.h"))  # fmt: skip
def test_each_can_be_included_alone(tmp_path: Path, header: str) -> None:
    text = f'#include "{header}"\nint main(void) {{ return 0; }}\n'
    done = compile_text(tmp_path, "cc", "c11", text, "-I", get_include())
    assert done.returncode == 0, done.stderr


def test_behind_a_system_header_strict_c_says_what_to_do_and_the_flags_do_it(tmp_path: Path) -> None:
    text = "#include <stdio.h>\n" + USE
    done = compile_text(tmp_path, "cc", "c11", text, "-I", get_include())
    assert done.returncode != 0
    assert "include it before any system header, or compile with -D_GNU_SOURCE" in done.stderr
    said = subprocess.run(
        [sys.executable, "-m", "shmtelemetry", "--cflags"], capture_output=True, text=True, check=True
    )
    done = compile_text(tmp_path, "cc", "c11", text, *said.stdout.split())
    assert done.returncode == 0, done.stderr


def test_one_file_is_all_that_a_copy_needs(tmp_path: Path) -> None:
    printed = CliRunner().invoke(main, ["--header"]).output
    (tmp_path / "shmtelemetry_producer.h").write_text(printed)
    for compiler, standard in (("cc", "c11"), ("c++", "c++17")):
        done = compile_text(tmp_path, compiler, standard, USE, "-I", str(tmp_path))
        assert done.returncode == 0, done.stderr


def test_two_files_of_a_program_may_both_include_it(tmp_path: Path) -> None:
    (tmp_path / "other.c").write_text(USE.replace("main", "other"))
    done = compile_text(tmp_path, "cc", "c11", USE, "-I", get_include(), str(tmp_path / "other.c"))
    assert done.returncode == 0, done.stderr


def test_wrong_use_of_the_command_is_exit_code_two() -> None:
    for arguments in ([], ["--nothing"], ["--cflags", "more"]):
        assert CliRunner().invoke(main, arguments).exit_code == 2


def body_of_emit(folder: Path, *flags: str) -> str:
    """The instructions of a counter's emit, up to its first return."""
    (folder / "emit.c").write_text(
        '#include "shmtelemetry_producer.h"\n'
        "int hot(const shmtel_counter *counter) { return shmtel_counter_emit(counter, 1.0); }\n"
        "int main(void) { return 0; }\n"
    )
    program = compiled(folder / "emit.c", folder, "-O2", *flags)
    command = [need("objdump"), "-d", "--no-show-raw-insn", "--disassemble=hot", str(program)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return listing.split("<hot>:")[1].partition("ret")[0]


def test_emit_calls_nothing_but_the_full_ring_path(tmp_path: Path) -> None:
    body = body_of_emit(tmp_path)
    assert "lock " not in body
    assert "call" not in body


def test_of_a_disabled_emit_nothing_is_left_but_its_answer(tmp_path: Path) -> None:
    assert len(body_of_emit(tmp_path, "-DSHMTEL_DISABLE").strip().splitlines()) == 2  # no, and return
