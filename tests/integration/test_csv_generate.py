"""Sample data are what a run of the demo measures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shmtelemetry import Reader
from tests.csv_log import HEADER, forget, take, total
from tests.readers import shmtel


@pytest.mark.slow
def test_a_generated_file_is_taken_whole(namespace: str, tmp_path: Path) -> None:
    log = tmp_path / "telemetry.log"
    done = shmtel("ingest", "csv", "--generate", str(log), "--seconds", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)["rows"]
    header, *lines = log.read_text().splitlines()
    assert (header, len(lines)) == (HEADER, rows)
    assert rows > 1
    with Reader(namespace, ephemeral=True) as reader:
        summary = take(log, namespace)
        assert (summary.rows, summary.rejected) == (rows, {})
        reader.settle()
        last = dict(zip(HEADER.split(","), lines[-1].split(","), strict=True))
        snapshot = reader.snapshot()
        assert total(snapshot, "orders_produced_total") == float(last["orders_produced"]) > 0
        assert total(snapshot, "batches_sent_total") == float(last["batch_count"])
        assert snapshot.histogram("batch_latency_seconds").count == float(last["batch_count"])
    forget(namespace)
