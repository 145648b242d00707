"""A Cython module of a user's own that emits without the GIL."""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import shmtelemetry
from shmtelemetry import Consumer, Producer
from tests.processes import drained, run_python

SOURCE = """
# cython: language_level=3, freethreading_compatible=True
from libc.stdint cimport uint64_t
from shmtelemetry._ring cimport Producer

def push_range(Producer ring, uint64_t begin, uint64_t end):
    cdef uint64_t number, accepted = 0
    with nogil:
        for number in range(begin, end):
            accepted += ring.push(&number)
    return accepted
"""
BUILD = """
import os, sys
from Cython.Build import cythonize
from setuptools import Distribution, Extension
import shmtelemetry
os.chdir(sys.argv[1])
package = os.path.dirname(os.path.dirname(shmtelemetry.__file__))
extension = Extension("pusher", ["pusher.pyx"], include_dirs=[shmtelemetry.get_include()])
modules = cythonize([extension], include_path=[package], quiet=True)
command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
command.inplace = True
command.ensure_finalized()
command.run()
"""
DTYPE = np.dtype([("seq", "<u8")])


@pytest.fixture(scope="module")
def pusher(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The user's module, compiled."""
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("pusher")
    (folder / "pusher.pyx").write_text(SOURCE)
    run_python(BUILD, str(folder), PYTHONPATH=str(Path(shmtelemetry.__file__).parent.parent))
    (file,) = folder.glob("pusher.*.so")
    spec = importlib.util.spec_from_file_location("pusher", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_pushes_records_without_the_gil(namespace: str, pusher: ModuleType) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8) as ring, Consumer("orders", namespace) as consumer:
        assert pusher.push_range(ring, 0, 5) == 5
        assert drained(consumer, 5)["seq"].tolist() == [0, 1, 2, 3, 4]
        assert pusher.push_range(ring, 5, 20) == 8
        assert ring.stats().dropped["full"] == 7
        assert len(consumer.read()) == 8


def test_a_full_ring_waits_also_there(namespace: str, pusher: ModuleType) -> None:
    with (
        Producer("orders", DTYPE, namespace, capacity=8, policy="block") as ring,
        Consumer("orders", namespace) as consumer,
    ):
        thread = threading.Thread(target=pusher.push_range, args=(ring, 0, 5000))
        thread.start()
        assert drained(consumer, 5000)["seq"].tolist() == list(range(5000))
        thread.join()


def test_two_threads_push_into_rings_of_their_own_at_once(namespace: str, pusher: ModuleType) -> None:
    def work() -> None:
        with Producer("orders", DTYPE, namespace, capacity=1024, policy="block") as ring:
            assert pusher.push_range(ring, 0, 50_000) == 50_000

    with Consumer("orders", namespace) as consumer:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        found = drained(consumer, 100_000)["seq"]
        for thread in threads:
            thread.join()
    assert np.array_equal(np.sort(found), np.repeat(np.arange(50_000, dtype="u8"), 2))


def test_a_closed_producer_takes_nothing_there(namespace: str, pusher: ModuleType) -> None:
    ring = Producer("orders", DTYPE, namespace, capacity=8)
    ring.close()
    assert pusher.push_range(ring, 0, 5) == 0
    assert ring.stats().dropped["no_ring"] == 5


def test_only_a_producer_is_accepted(pusher: ModuleType) -> None:
    with pytest.raises(TypeError, match="Producer"):
        pusher.push_range(object(), 0, 1)


def test_the_include_folder_holds_the_header() -> None:
    assert Path(shmtelemetry.get_include(), "shmtelemetry.h").is_file()
    assert "shmtelemetry" in sys.modules
