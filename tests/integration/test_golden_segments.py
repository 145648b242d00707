"""Segments that an earlier build wrote are read as they were then, or clearly refused."""

from __future__ import annotations

import gzip
import json
import math
import secrets
import struct
from pathlib import Path

import pytest

from shmtelemetry import Reader, layout
from shmtelemetry.errors import SegmentError
from shmtelemetry.segment import attach
from tests.golden.what import aggregated
from tests.readers import shmtel
from tests.reading import SHM

GOLDEN = Path(__file__).parents[1] / "golden"
KEPT = sorted(path.stem for path in GOLDEN.glob("*.gz"))


def put(namespace: str, kept: str, version: int | None = None) -> Path:
    """A golden segment in /dev/shm, changed in nothing but perhaps its layout version."""
    image = bytearray(gzip.decompress((GOLDEN / f"{kept}.gz").read_bytes()))
    if version is not None:
        struct.pack_into("=I", image, layout.HEADER_OFFSETS["layout_version"], version)
    producer = json.loads((GOLDEN / f"{kept}.json").read_text())["producers"]
    path = SHM / f"shmtel.{namespace}.{next(iter(producer))}.{secrets.token_hex(8)}"
    path.write_bytes(image)
    return path


def test_each_layout_has_its_golden_segments() -> None:
    assert {f"v{layout.LAYOUT_VERSION}-instruments", f"v{layout.LAYOUT_VERSION}-records"} <= set(KEPT)


@pytest.mark.parametrize("kept", KEPT)
def test_what_a_golden_segment_holds_comes_out(namespace: str, kept: str) -> None:
    path = put(namespace, kept)
    with Reader(namespace, ephemeral=True, windows=False, gauge_ttl=math.inf) as reader:
        assert reader.settle()
        assert aggregated(reader.snapshot()) == json.loads((GOLDEN / f"{kept}.json").read_text())
    assert not path.exists()


@pytest.mark.parametrize("kept", KEPT)
def test_a_later_layout_is_refused_in_one_line_and_left_alone(
    namespace: str, kept: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(namespace, kept, version=2)
    before = path.read_bytes()
    with pytest.raises(SegmentError, match="layout version 2, expected 1"):
        attach(path.name)
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        assert reader.snapshot().value("shmtel_producers", state="quarantined") == 1
    assert "layout version 2, expected 1" in caplog.text
    assert "layout version 2" in shmtel("doctor", "--namespace", namespace).stdout
    shmtel("gc", "--namespace", namespace, "--undrained", "--states")
    assert path.read_bytes() == before
    path.unlink()
