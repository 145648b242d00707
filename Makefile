# The one entry for people and CI. Everything happens in .venv; `make demo` and `make test` need only git, make, a C
# compiler and Python >= 3.11 with venv and headers.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
SECONDS ?= 300
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --prefer-binary --disable-pip-version-check
SANITIZED := .venv-sanitize
SANITIZERS := LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
SANITIZED_TESTS := not stress and not unsanitized
SOURCES := pyproject.toml setup.py $(shell find src -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

.PHONY: help demo stack test core stress threads verify sanitize fuzz soak check bench gates screenshots dashboards peers clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo  ## a small trading platform of real processes and its web page; ARGS="--seconds 10" passes arguments on
	@$(BIN)/shmtel demo $(ARGS)

stack: $(VENV)/.test  ## the demo, Prometheus, Alertmanager and the service on loopback, by generated files, until Ctrl-C
	@$(BIN)/python -m tests.stack $(ARGS)

test: $(VENV)/.test  ## the whole test suite; ARGS="-k ring" passes arguments to pytest
	$(BIN)/python -m pytest $(ARGS)

core: $(VENV)/.core  ## the core's quick tests, for one CPython more: PYTHON=python3.13 VENV=.venv-3.13
	$(BIN)/python -m pytest tests/unit tests/property -q -m 'not stress and not slow' $(ARGS)

stress: $(VENV)/.test  ## the tests that take minutes
	$(BIN)/python -m pytest -m stress $(ARGS)

sanitize: $(SANITIZED)/.sanitized  ## the test suite with AddressSanitizer and UndefinedBehaviorSanitizer in every compiled module
	$(SANITIZERS) $(SANITIZED)/bin/python -m pytest -m '$(SANITIZED_TESTS)' $(ARGS)

threads: $(VENV)/.core  ## the core's tests, threads that come and go, and how threads scale: on a CPython without the GIL
	$(BIN)/python -c 'import sys, sysconfig; sys.exit(not sysconfig.get_config_var("Py_GIL_DISABLED") and "make: " + sys.executable + " has a GIL: say make threads PYTHON=python3.13t VENV=.venv-3.13t")'
	$(BIN)/python -m pytest tests/unit tests/property tests/integration/test_threads.py tests/stress/test_threads.py -q -m 'not slow'
	$(BIN)/python -m benchmarks.threads

verify: $(VENV)/.test  ## prove what docs/verification.md says; ARGS=--write writes that page
	$(BIN)/python -m verification $(ARGS)
	$(MAKE) sanitize ARGS="tests/unit tests/property -q" SANITIZED_TESTS="$(SANITIZED_TESTS) and not slow"

fuzz: $(VENV)/.fuzz  ## search for segments that break the reader; SECONDS=300 says how long
	fuzzing/run $(SECONDS) $(BIN)/python

soak: $(VENV)/.test $(VENV)/.soak  ## everything together for an hour, in which nothing may grow; ARGS="--minutes 10"
	$(BIN)/python -m tests.soak $(ARGS)

check: $(VENV)/.check  ## ruff, mypy --strict, cython-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --diff .
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" cython-lint src benchmarks

bench: $(VENV)/.bench  ## measure everything beside its peers; writes bench_results/ and the README's table
	$(BIN)/python -m benchmarks.run $(ARGS)

gates: $(VENV)/.bench  ## fail if a figure that was promised is missed
	$(BIN)/python -m benchmarks.gates $(ARGS)

screenshots: $(VENV)/.test  ## the pictures of the page in docs/images, by chromium from a real demo
	SHMTEL_IMAGES=docs/images $(BIN)/python -m pytest tests/integration/test_page.py -m stress -k pictures -q

dashboards: $(VENV)/.test $(VENV)/.soak  ## pictures of Grafana's dashboards in build/dashboards, from a real demo; ARGS="--minutes 6 overview"
	$(BIN)/python -m tests.pictures --out build/dashboards $(ARGS)

peers:  ## the servers and tools that some tests need, by apt
	.ci/peers

clean:  ## remove what was built
	rm -rf $(VENV) build dist *.egg-info src/*.egg-info
	find src benchmarks \( -name '*.so' -o -name '*.c' \) -delete

$(VENV)/.ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON): install Python >= 3.11, or say make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) -V) is too old: 3.11 or later is needed, say make PYTHON=..."; exit 1; }
	@command -v $(or $(CC),cc) >/dev/null || { echo "make: no C compiler: install gcc or clang (apt install gcc)"; exit 1; }
	@$(PYTHON) -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { echo "make: no Python.h: install Python's headers (apt install python3-dev)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: no venv module: install it (apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --group build
	@touch $@

$(VENV)/.built: $(VENV)/.ready $(SOURCES)
	$(PIP) --no-build-isolation --editable .
	@touch $@

$(SANITIZED)/.sanitized: pyproject.toml $(SOURCES) $(shell find src -name '*.py')
	$(MAKE) VENV=$(SANITIZED) $(SANITIZED)/.ready
	SHMTEL_BUILD=sanitize $(SANITIZED)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --group test .
	@touch $@

$(VENV)/.demo: $(VENV)/.built
	$(PIP) 'shmtelemetry[demo]'
	@touch $@

$(VENV)/.test $(VENV)/.core $(VENV)/.check $(VENV)/.bench $(VENV)/.fuzz $(VENV)/.soak: $(VENV)/.%: $(VENV)/.built
	$(PIP) --group $*
	@touch $@
