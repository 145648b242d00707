"""How the tools that build C and C++ programs find the headers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from shmtelemetry import Reader, __version__
from shmtelemetry.__main__ import main
from tests.native import WARNINGS
from tests.peers import need

EXAMPLES = Path(__file__).parents[2] / "examples"


def said(what: str) -> str:
    return CliRunner().invoke(main, [what]).output.strip()


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def assert_orders(program: Path, namespace: str, count: int) -> None:
    run(program, namespace)
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        assert reader.snapshot().histogram("order_latency_us").count == count


@pytest.mark.slow
@pytest.mark.peer
def test_cmake_finds_the_package(namespace: str, tmp_path: Path) -> None:
    cmake = need("cmake")
    flags = " ".join(WARNINGS)
    run(
        cmake, "-S", EXAMPLES / "cmake", "-B", tmp_path, f"-Dshmtelemetry_DIR={said('--cmakedir')}",
        f"-DCMAKE_C_FLAGS={flags}", f"-DCMAKE_CXX_FLAGS={flags}",
    )  # fmt: skip
    run(cmake, "--build", tmp_path)
    assert_orders(tmp_path / "orders", namespace, 1000)
    assert_orders(tmp_path / "engine", namespace, 4000)


@pytest.mark.peer
def test_cmake_refuses_a_version_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(p NONE)\nfind_package(shmtelemetry 99 REQUIRED)\n"
    )
    command = [
        need("cmake"),
        "-S",
        str(tmp_path),
        "-B",
        str(tmp_path / "b"),
        f"-Dshmtelemetry_DIR={said('--cmakedir')}",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"version: {__version__}" in done.stderr


@pytest.mark.peer
def test_pkg_config_finds_the_package(namespace: str, tmp_path: Path) -> None:
    program = need("pkg-config")
    where = said("--pkgconfigdir")
    assert run(program, "--modversion", "shmtelemetry", PKG_CONFIG_PATH=where) == __version__
    flags = run(program, "--cflags", "--libs", "shmtelemetry", PKG_CONFIG_PATH=where).split()
    built = tmp_path / "orders"
    run("cc", "-std=c11", *WARNINGS, EXAMPLES / "c/orders.c", *flags, "-o", built)
    assert_orders(built, namespace, 1000)


def test_the_version_that_they_say_is_the_packages() -> None:
    cmake = Path(said("--cmakedir"), "shmtelemetryConfigVersion.cmake").read_text()
    assert f"set(PACKAGE_VERSION {__version__})" in cmake
    assert f"Version: {__version__}\n" in Path(said("--pkgconfigdir"), "shmtelemetry.pc").read_text()
