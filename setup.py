"""The compiled modules; everything else about the package is in pyproject.toml."""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

if sys.platform != "linux":
    sys.exit("shmtelemetry builds on Linux: its rings live on a tmpfs and its locks are Linux's")

BUILDS = {
    "release": (["-O3", "-fno-plt"], []),
    "debug": (["-O0", "-g"], []),
    "sanitize": (["-O1", "-g1", "-fsanitize=address,undefined"], ["-fsanitize=address,undefined"]),
    "coverage": (["-O0", "-g", "--coverage"], ["--coverage"]),
    "fuzz": (["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,fuzzer-no-link"], ["-fsanitize=address"]),
}
kind = os.environ.get("SHMTEL_BUILD", "release")
if kind not in BUILDS:
    sys.exit(f"SHMTEL_BUILD is {kind!r}: expected one of {', '.join(BUILDS)}")
compile_args, link_args = BUILDS[kind]

MODULES = [
    "_clock",
    "_mapping",
    "_fields",
    "_writer",
    "_ring",
    "_drain",
    "_exemplars",
    "_instruments",
    "aggregate._exemplars",
    "aggregate._kernels",
    "aggregate._store",
    "aggregate._seconds",
    "aggregate._distributions",
    "reader._places",
    "aggregate._check",
    "reader._plan",
    "reader._rings",
    "reader._agent",
    "sources.csv._rows",
    "exporters._text",
    "exporters._protobuf",
    "compat._metrics",
]


def extension(module: str) -> Extension:
    import numpy

    return Extension(
        f"shmtelemetry.{module}",
        [f"src/shmtelemetry/{module.replace('.', '/')}.pyx"],
        include_dirs=["src/shmtelemetry/include", "src/shmtelemetry/aggregate", numpy.get_include()],
        depends=[
            "src/shmtelemetry/include/shmtelemetry.h",
            "src/shmtelemetry/include/shmtelemetry_threads.h",
            "src/shmtelemetry/_guard.h",
            "src/shmtelemetry/aggregate/_marks.h",
        ],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=[
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
            "-Wno-sign-compare",
            *compile_args,
        ],
        extra_link_args=link_args,
    )


setup(
    # Objects of one kind are nothing to another.
    options={"build": {"build_base": f"build/{kind}"}, "build_ext": {"parallel": os.cpu_count()}},
    ext_modules=cythonize(
        [extension(module) for module in MODULES],
        language_level=3,
        compiler_directives={
            "binding": False,  # plain method descriptors, which CPython specialises: 18 ns a call against 22
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
    ),
)
