"""`shmtel ingest csv` follows a file wherever it goes, and takes each row once."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shmtelemetry import Reader, read_state
from shmtelemetry.errors import ShmtelError
from tests.csv_log import (
    HEADER,
    append,
    assert_rows,
    await_rows,
    ended,
    following,
    forget,
    ingesting,
    line,
    lines,
    take,
    total,
)
from tests.processes import wait_until
from tests.readers import shmtel
from tests.reading import running_reader


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.log"


@pytest.fixture
def drained(namespace: str) -> Iterator[str]:
    """A namespace that a reader drains."""
    with running_reader(namespace):
        yield namespace
    with Reader(namespace, ephemeral=True):
        pass
    forget(namespace)


def test_rows_become_the_documented_metrics(drained: str, log: Path) -> None:
    log.write_text(HEADER + "\n" + lines(1, 100))
    done = shmtel(
        "ingest", "csv", str(log), "--namespace", drained, "--producer-id", "engine", "--consumer-id", "desk",
        "--network-type", "multicast", "--json",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["rows"], told["rejected"], told["bytes"]) == (100, {}, log.stat().st_size)
    snapshot = await_rows(drained, 100)
    assert_rows(snapshot, 100)
    assert snapshot.value("orders_produced_total", producer_id="engine") == 1000
    assert snapshot.value("orders_consumed_total", consumer_id="desk") == 900
    assert snapshot.value("network_dropped_packets_total", network_type="multicast") == 200
    assert snapshot.value("throughput_orders_per_second") == 8500.5
    assert snapshot.value("buffer_utilization_percent") == 100 * 100 / 1024
    assert snapshot.value("batch_latency_p99_seconds") == 500e-6
    latency = snapshot.histogram("batch_latency_seconds")
    assert latency.sum == pytest.approx(300 * 250e-6)
    assert (latency.min, latency.max) == (250e-6, 250e-6)
    assert snapshot.value("ingest_items_total", source="csv") == 100


def test_columns_may_come_in_the_order_of_a_header_and_without_one(drained: str, log: Path) -> None:
    names, cells = HEADER.split(","), line(1).strip().split(",")
    log.write_text(",".join(reversed(names)) + ",note\n" + ",".join(reversed(cells)) + ",x\n" + HEADER + "\n" + line(2))
    take(log, drained)
    assert_rows(await_rows(drained, 2), 2)


def test_the_order_of_the_last_header_holds_for_the_next_ingester(drained: str, log: Path) -> None:
    names, cells = HEADER.split(","), line(2).strip().split(",")
    log.write_text(line(1) + ",".join(reversed(names)) + "\n" + ",".join(reversed(cells)) + "\n")
    take(log, drained)
    append(log, ",".join(reversed(line(3).strip().split(","))) + "\n")
    take(log, drained)
    assert_rows(await_rows(drained, 3), 3)


def test_a_total_that_falls_has_begun_again(drained: str, log: Path) -> None:
    log.write_text(lines(1, 5) + lines(1, 3))
    take(log, drained)
    assert_rows(await_rows(drained, 8), 8)


def test_a_missing_file_is_an_error_or_waited_for(drained: str, log: Path, tmp_path: Path) -> None:
    done = shmtel("ingest", "csv", str(log), "--namespace", drained)
    assert done.returncode == 1
    assert "there is no" in done.stderr
    said = tmp_path / "said"
    with ingesting(log, drained, said=said) as process:
        wait_until(lambda: "waiting for" in said.read_text(), "it says that it waits")
        log.write_text(lines(1, 10))
        assert_rows(await_rows(drained, 10), 10)
        assert ended(process).startswith("10 rows in ")
    assert said.read_text().count("waiting for") == 1


def test_following_begins_with_the_last_row_that_is_there(drained: str, log: Path) -> None:
    log.write_text(HEADER + "\n" + lines(1, 40))
    with following(log, drained, from_start=False):
        await_rows(drained, 40)
        append(log, lines(41, 50))
        assert_rows_from(drained, 40, 50)


def assert_rows_from(namespace: str, first: int, last: int) -> None:
    """Rows first to last were taken: the totals are the last one's, as the first one's counted in full."""
    assert_rows(await_rows(namespace, last), last, records=last - first + 1)


def test_a_line_is_taken_when_it_is_whole(drained: str, log: Path) -> None:
    text = lines(1, 20)
    with following(log, drained):
        for at in range(0, len(text), 37):
            append(log, text[at : at + 37])
        assert_rows(await_rows(drained, 20), 20)
        append(log, line(21)[:-1])
        append(log, "\n" + line(22))
        assert_rows(await_rows(drained, 22), 22)


def test_rows_go_on_through_rotations(drained: str, log: Path) -> None:
    log.write_text(HEADER + "\n" + lines(1, 10))
    with following(log, drained):
        await_rows(drained, 10)
        for turn in range(1, 6):
            os.rename(log, log.with_name(f"telemetry.log.{turn}"))
            append(log.with_name(f"telemetry.log.{turn}"), line(20 * turn - 9))  # its writer has not noticed yet
            append(log, "".join(map(line, range(20 * turn - 8, 20 * turn + 11))))
            await_rows(drained, 20 * turn + 10)
    assert_rows(read_state(drained), 110)


def test_rows_go_on_when_the_file_is_copied_and_cut(drained: str, log: Path) -> None:
    log.write_text(lines(1, 10))
    with following(log, drained):
        await_rows(drained, 10)
        log.with_name("telemetry.log.1").write_bytes(log.read_bytes())
        os.truncate(log, 0)
        append(log, lines(11, 12))
        assert_rows(await_rows(drained, 12), 12)
        log.with_name("telemetry.log.1").write_bytes(log.read_bytes())
        log.write_text(lines(13, 40))  # cut, and longer than before at the next look
        assert_rows(await_rows(drained, 40), 40)


def test_what_was_rotated_while_nobody_followed_is_taken(drained: str, log: Path) -> None:
    log.write_text(HEADER + "\n" + lines(1, 10))
    with following(log, drained):
        await_rows(drained, 10)
    append(log, lines(11, 15))
    log.with_name("telemetry.log.2.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.with_name("telemetry.log.1").write_text(HEADER + "\n" + lines(16, 20))
    log.write_text(HEADER + "\n" + lines(21, 25))
    for age, name in enumerate(("telemetry.log", "telemetry.log.1", "telemetry.log.2.gz")):
        os.utime(log.with_name(name), ns=(10**18 - age * 10**9,) * 2)
    with following(log, drained, from_start=False):
        assert_rows(await_rows(drained, 25), 25)


def test_gzip_files_are_unpacked_once_and_in_the_middle(drained: str, tmp_path: Path) -> None:
    packed = tmp_path / "yesterday.csv.gz"
    packed.write_bytes(gzip.compress((HEADER + "\n" + lines(1, 20_000)).encode()[:-1]))
    assert [take(packed, drained).rows for _ in range(2)] == [20_000, 0]
    assert_rows(await_rows(drained, 20_000), 20_000)
    packed.write_bytes(packed.read_bytes()[:-9000])
    with pytest.raises(ShmtelError, match="damaged"):
        take(packed, drained, producer="other")


def test_bad_lines_are_counted_and_told_with_their_number(drained: str, log: Path) -> None:
    bad = ("one,two\n", line(1).replace("8500.5", "nan"), line(1).replace(",10,", ",-10,"), "\0\n", "x" * 70_000 + "\n")
    log.write_text("".join(line(at) + text for at, text in enumerate(bad * 2, 1)) + line(11))
    told: list[str] = []
    summary = take(log, drained, told)
    assert summary.rejected == {"columns": 2, "number": 2, "negative": 2, "nul": 2, "long": 2}
    assert [text.split(": ")[0] for text in told[:5]] == [f"{log}:{number}" for number in (2, 4, 6, 8, 10)]
    assert "not told one by one" in told[5]
    assert len(told) == 6
    assert_rows(await_rows(drained, 11), 11)
    wait_until(lambda: total(read_state(drained), "ingest_rejected_total") == 10, "the refused lines are in the state")
    snapshot = read_state(drained)
    for reason in ("columns", "number", "negative", "nul", "long"):
        assert snapshot.value("ingest_rejected_total", source="csv", reason=reason) == 2


def test_one_name_has_one_ingester(drained: str, log: Path) -> None:
    log.write_text(lines(1, 3))
    with following(log, drained) as pid:
        await_rows(drained, 3)
        done = shmtel("ingest", "csv", str(log), "--namespace", drained)
        assert done.returncode == 1
        assert f"process {pid} writes as csv" in done.stderr


def taken(namespace: str) -> float:
    return total(read_state(namespace), "ingest_items_total")


def test_a_state_that_begins_anew_goes_on_from_the_same_row(namespace: str, log: Path) -> None:
    log.write_text(lines(1, 10))
    with running_reader(namespace), following(log, namespace):
        await_rows(namespace, 10)
        wait_until(lambda: taken(namespace) == 10, "ten rows are counted")
    append(log, lines(11, 12))
    with Reader(namespace, reset_state=True):
        pass
    with running_reader(namespace), following(log, namespace):
        snapshot = await_rows(namespace, 12)
        wait_until(lambda: taken(namespace) == 2, "two rows are counted")
    assert total(snapshot, "orders_produced_total") == 120
    with Reader(namespace, ephemeral=True):
        pass
    forget(namespace)


def test_an_ingester_without_a_reader_waits_and_ends_when_it_is_asked(
    namespace: str, log: Path, tmp_path: Path
) -> None:
    log.write_text(lines(1, 10_000))
    said = tmp_path / "said"
    ids = ("--producer-id", "engine", "--consumer-id", "desk", "--network-type", "multicast")
    with ingesting(log, namespace, "--from-start", "--json", *ids, said=said) as process:
        wait_until(lambda: "waiting for a reader" in said.read_text(), "it says that the ring is full")
        assert json.loads(ended(process))["rows"] == 8192
    with running_reader(namespace), following(log, namespace):
        assert_rows(await_rows(namespace, 10_000), 10_000)
    with Reader(namespace, ephemeral=True):
        pass
    forget(namespace)


def test_a_segment_of_the_future_is_no_place_to_go_on(
    namespace: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_text(lines(1, 2))
    take(log, namespace)
    monkeypatch.setattr("time.time_ns", lambda: 10**18)
    with pytest.raises(ShmtelError, match="clock was set back"):
        take(log, namespace)
    forget(namespace)
