"""Compile what only benchmarks need, into build/, whenever something it depends on has changed."""

from __future__ import annotations

import fcntl
import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "build" / f"benchmarks-{sys.implementation.cache_tag}"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
FLAGS = ["-std=c11", "-O3", "-fno-plt", "-Wno-sign-compare"]
"""Those of a release build of the package: others would compare compilers."""
COMMITTING = ("aggregate._kernels", "reader._agent")
"""The modules in which records become part of the state."""


def baseline() -> ModuleType:
    """`_baseline.pyx` against the package, compiled and imported."""
    package = _package()
    built = FOLDER / f"_baseline{SUFFIX}"
    sources = [HERE / "_baseline.pyx", Path(__file__), *package.glob("*.pxd"), *package.glob("include/*.h")]
    made(built, sources, lambda: _compile(package, {"_baseline": HERE / "_baseline.pyx"}, FOLDER, []))
    spec = importlib.util.spec_from_file_location("_baseline", built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_commits() -> Path:
    """For PYTHONPATH: a copy of the package that applies records without the log and the marks that make them exact.

    Nothing but the time that a drain takes there means anything.
    """
    package, folder = _package(), FOLDER / "without-commits"
    sources = {f"shmtelemetry.{name}": package / f"{name.replace('.', '/')}.pyx" for name in COMMITTING}

    def make() -> None:
        shutil.copytree(package, folder / "shmtelemetry", ignore=shutil.ignore_patterns("*.c"), dirs_exist_ok=True)
        _compile(package, sources, folder, [("SHMTEL_WITHOUT_COMMITS", "1")])
        (folder / "made").touch()

    made(folder / "made", [Path(__file__), *package.rglob("*.p*"), *package.rglob("*.h")], make)
    return folder


def _package() -> Path:
    import shmtelemetry  # sets up what the modules cimport

    return Path(shmtelemetry.__file__).parent


def made(built: Path, sources: Iterable[Path], make: Callable[[], None]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(source.stat().st_mtime for source in sources if source.is_file())
        if not built.exists() or built.stat().st_mtime < newest:
            make()


def _compile(package: Path, sources: dict[str, Path], folder: Path, macros: list[tuple[str, str | None]]) -> None:
    """sources: name of the module → its .pyx."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    extensions = [
        Extension(
            name,
            [str(source)],
            include_dirs=[str(package / "include"), str(package / "aggregate")],
            define_macros=macros,
            extra_compile_args=FLAGS,
        )
        for name, source in sources.items()
    ]
    modules = cythonize(
        extensions,
        build_dir=str(folder),
        include_path=[str(package.parent)],
        language_level=3,
        compiler_directives={"binding": False, "boundscheck": False, "wraparound": False, "cdivision": True},
        force=True,
        quiet=True,
    )
    distribution = Distribution({"name": "benchmarks", "ext_modules": modules})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = str(folder)
    command.build_temp = str(folder)
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    print(baseline().__file__)
