"""Compile `_baseline.pyx` against the package, into build/, whenever something it depends on has changed."""

from __future__ import annotations

import fcntl
import importlib.util
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "build" / f"benchmarks-{sys.implementation.cache_tag}"
FLAGS = ["-std=c11", "-O3", "-fno-plt"]
"""Those of a release build of the package: a baseline with other flags would compare compilers."""


def baseline() -> ModuleType:
    """The compiled module."""
    import shmtelemetry  # sets up what the module cimports

    package = Path(shmtelemetry.__file__).parent
    built = FOLDER / f"_baseline{sysconfig.get_config_var('EXT_SUFFIX')}"
    sources = [HERE / "_baseline.pyx", Path(__file__), *package.glob("*.pxd"), *package.glob("include/*.h")]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists() or built.stat().st_mtime < max(source.stat().st_mtime for source in sources):
            _compile(package)
    spec = importlib.util.spec_from_file_location("_baseline", built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compile(package: Path) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    extension = Extension(
        "_baseline",
        [str(HERE / "_baseline.pyx")],
        include_dirs=[str(package / "include")],
        extra_compile_args=FLAGS,
    )
    modules = cythonize(
        [extension],
        build_dir=str(FOLDER),
        include_path=[str(package.parent)],
        language_level=3,
        compiler_directives={"boundscheck": False, "wraparound": False, "cdivision": True},
        force=True,
        quiet=True,
    )
    distribution = Distribution({"name": "_baseline", "ext_modules": modules})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = str(FOLDER)
    command.build_temp = str(FOLDER)
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    print(baseline().__file__)
