"""What an installed wheel has for users that compile: a Cython module that emits without the GIL, headers, tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import shmtelemetry

ROOT = Path(__file__).parents[2]
MODULE = """
# cython: language_level=3
cimport shmtelemetry
from shmtelemetry cimport Counter, Gauge, Histogram, Producer
from libc.stdint cimport uint64_t

def push_records(shmtelemetry.Producer ring, uint64_t count):
    cdef uint64_t number, accepted = 0
    with nogil:
        for number in range(count):
            accepted += ring.push(&number)
    return accepted

def push_values(Counter counter, Gauge gauge, Histogram histogram, double value, int times):
    cdef int time, counted = 0, put = 0, observed = 0
    with nogil:
        for time in range(times):
            counted += counter.push(value)
            put += gauge.push(value)
            observed += histogram.push(value)
    return counted, put, observed
"""
SETUP = """
from Cython.Build import cythonize
from setuptools import Extension, setup
import shmtelemetry
module = Extension("pusher", ["pusher.pyx"], include_dirs=[shmtelemetry.get_include()])
setup(ext_modules=cythonize([module], quiet=True))
"""
USE = """
import math, os, sys
import numpy as np
import pusher, shmtelemetry
from shmtelemetry import Consumer, Producer, Reader, Telemetry

namespace = sys.argv[1]
assert os.path.dirname(shmtelemetry.__file__) == os.path.join(sys.argv[2], "shmtelemetry"), shmtelemetry.__file__
with Producer("records", [("seq", "<u8")], namespace + "-r", capacity=16) as ring:
    assert pusher.push_records(ring, 20) == 16
    with Consumer("records", namespace + "-r") as consumer:
        assert consumer.read()["seq"].tolist() == list(range(16))
with Telemetry("p", namespace, capacity=16) as telemetry, Reader(namespace, ephemeral=True) as reader:
    handles = telemetry.counter("c"), telemetry.gauge("g"), telemetry.histogram("h")
    assert pusher.push_values(*handles, 2.0, 3) == (3, 3, 3)
    assert pusher.push_values(*handles, 1.0, 10) == (10, 10, 2)
    reader.poll()
    snapshot = reader.snapshot()
    assert (snapshot.value("c_total"), snapshot.value("g"), snapshot.histogram("h").count) == (16, 1, 5)
    assert pusher.push_values(*handles, math.nan, 1) == (0, 1, 0)
    assert pusher.push_values(*handles, -1.0, 1) == (0, 1, 1)
    stats = telemetry.stats()
    assert (stats.rejected, stats.dropped["full"], stats.holds) == (3, 8, True)
    telemetry.close()
    assert pusher.push_values(*handles, 1.0, 2) == (0, 0, 0)
    reader.poll()
"""


def python(*arguments: str | Path, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a wheel of this tree is installed. Its modules are those that are compiled here already."""
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    tree, site = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("site")
    package = Path(shmtelemetry.__file__).parent
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tree)
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__"))
    script = "import setuptools; d = setuptools.Distribution({'ext_modules': [1]}).get_command_obj('build'); "
    script += "d.build_base = 'build/release'; d.ensure_finalized(); print(d.build_platlib)"
    library = tree / python("-c", script, folder=tree).strip() / "shmtelemetry"
    for compiled in package.rglob("*.so"):
        (library / compiled.relative_to(package)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(compiled, library / compiled.relative_to(package))
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    python(*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", site, ".", folder=tree, SHMTEL_BUILD="release")
    (wheel,) = site.glob("*.whl")
    python(*pip, "install", "--no-deps", "--no-compile", "--target", site, wheel, folder=tree)
    return site


@pytest.mark.slow
@pytest.mark.unsanitized("its modules are those of a release build")
def test_a_users_cython_module_emits_without_the_gil(namespace: str, site: Path, tmp_path: Path) -> None:
    (tmp_path / "pusher.pyx").write_text(MODULE)
    (tmp_path / "setup.py").write_text(SETUP)
    python("setup.py", "--quiet", "build_ext", "--inplace", folder=tmp_path, PYTHONPATH=str(site))
    python("-c", USE, namespace, str(site), folder=tmp_path, PYTHONPATH=os.pathsep.join([str(tmp_path), str(site)]))


@pytest.mark.slow
@pytest.mark.unsanitized("its modules are those of a release build")
def test_the_wheel_has_the_headers_and_what_finds_them(site: Path, tmp_path: Path) -> None:
    flags = python("-m", "shmtelemetry", "--cflags", folder=tmp_path, PYTHONPATH=str(site)).split()
    assert f"-I{site}/shmtelemetry/include" in flags
    for example in ("c/orders.c", "c/trades.c", "cpp/engine.cpp"):
        compiler = ["c++", "-std=c++17"] if example.endswith("cpp") else ["cc", "-std=c11"]
        command = [*compiler, *flags, "-fsyntax-only", str(ROOT / "examples" / example)]
        subprocess.run(command, check=True)
    for what, file in (("--cmakedir", "shmtelemetryConfig.cmake"), ("--pkgconfigdir", "shmtelemetry.pc")):
        folder = python("-m", "shmtelemetry", what, folder=tmp_path, PYTHONPATH=str(site)).strip()
        assert Path(folder).is_relative_to(site)
        assert Path(folder, file).is_file()
