"""The machine code of emit, as this compiler made it."""

from __future__ import annotations

import importlib
import platform
from pathlib import Path

import pytest

from tests.peers import need
from verification import disassembly


@pytest.mark.unsanitized(reason="a sanitizer puts checks between all instructions")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads the instructions of x86-64")
@pytest.mark.parametrize(("module", "ways"), disassembly.MODULES.items())
def test_between_claim_and_publish_nothing_but_the_record_is_moved(module: str, ways: int) -> None:
    need("objdump")
    file = importlib.import_module(f"shmtelemetry.{module}").__file__
    assert file is not None
    assert disassembly.checked(Path(file)) >= ways, f"{module}: built without line numbers (-g)?"
