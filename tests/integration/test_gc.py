"""`shmtel gc` removes what nobody needs, and nothing else."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, Reader, read_state
from shmtelemetry.layout import LOCK_CONSUMER
from shmtelemetry.liveness import lock
from shmtelemetry.segment import segment_names
from tests.processes import in_child
from tests.readers import shmtel
from tests.reading import SHM, running_reader, state_of, windows_of

DTYPE = np.dtype([("n", "<u8")])


def gc(namespace: str, *options: str) -> dict[str, Any]:
    done = shmtel("gc", "--namespace", namespace, "--json", *options)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert set(said) == {"dry_run", "bytes", "files"}
    assert all(set(one) == {"name", "namespace", "kind", "bytes", "removed", "why"} for one in said["files"])
    assert said["bytes"] == sum(one["bytes"] for one in said["files"] if one["removed"])
    return said


def dead(namespace: str, records: int, read: int) -> None:
    """A segment of a process that ended without closing it, with so many records, of which so many are read."""

    def work() -> None:
        ring = Producer("p", DTYPE, namespace=namespace, capacity=16)
        for _ in range(records):
            ring.emit(bytes(8))
        consumer = Consumer("p", namespace=namespace)
        if read:
            assert len(consumer.read(read)) == read
        ended.extend((ring, consumer))

    ended: list[object] = []
    in_child(work)


def recorded(namespace: str) -> None:
    """A flight recorder's segment, whose producer was killed and whose records are read."""

    def work() -> None:
        ring = Producer("p", DTYPE, namespace=namespace, capacity=16, policy="overwrite_oldest")
        ring.emit(bytes(8))
        consumer = Consumer("p", namespace=namespace)
        consumer.read()
        ended.extend((ring, consumer))

    ended: list[object] = []
    in_child(work)


def there(namespace: str) -> int:
    return len(list(segment_names(namespace)))


def test_the_living_and_what_is_not_read_stay(namespace: str) -> None:
    with Producer("alive", DTYPE, namespace=namespace, capacity=16):
        assert not any(one["removed"] for one in gc(namespace, "--undrained", "--states")["files"])
        assert there(namespace) == 1
    dead(namespace, records=5, read=2)
    (kept,) = gc(namespace)["files"]
    assert (kept["removed"], "3 records" in kept["why"], "--undrained" in kept["why"]) == (False, True, True)
    assert there(namespace) == 1
    would = gc(namespace, "--undrained", "--dry-run")
    assert (would["dry_run"], would["bytes"] > 0, there(namespace)) == (True, True, 1)
    done = gc(namespace, "--undrained")
    assert (done["bytes"], there(namespace)) == (would["bytes"], 0)


def test_what_is_read_goes(namespace: str) -> None:
    dead(namespace, records=5, read=5)
    before = sum(path.stat().st_blocks * 512 for path in SHM.glob(f"shmtel.{namespace}.p.*"))
    assert gc(namespace)["bytes"] == before
    assert there(namespace) == 0
    assert gc(namespace) == {"dry_run": False, "bytes": 0, "files": []}


def test_what_somebody_reads_stays_even_undrained(namespace: str) -> None:
    dead(namespace, records=5, read=0)
    (name,) = segment_names(namespace)
    fd = os.open(SHM / name, os.O_RDWR)
    try:
        assert lock(fd, LOCK_CONSUMER)
        assert "a reader has it" in gc(namespace, "--undrained")["files"][0]["why"]
    finally:
        os.close(fd)
    gc(namespace, "--undrained")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_segment_stays(namespace: str) -> None:
    dead(namespace, records=1, read=1)
    (name,) = segment_names(namespace)
    os.chown(SHM / name, 12345, -1)
    assert "user 12345" in gc(namespace, "--undrained")["files"][0]["why"]
    (SHM / name).unlink()


def test_totals_go_only_when_asked_and_when_nobody_reads_or_writes(namespace: str) -> None:
    with running_reader(namespace) as pid:
        (state,) = gc(namespace, "--states")["files"]
        assert (state["removed"], f"process {pid}" in state["why"]) == (False, True)
    assert windows_of(namespace).exists()  # of the reader that was killed
    Reader(namespace, reset_state=True).close()
    assert gc(namespace)["files"] == []
    dead(namespace, records=3, read=1)
    kinds = {one["kind"]: one["removed"] for one in gc(namespace, "--states")["files"]}
    assert kinds == {"segment": False, "kept_state": True, "state": False}
    would = gc(namespace, "--states", "--undrained", "--dry-run")
    assert all(one["removed"] for one in would["files"])
    assert state_of(namespace).exists()
    assert gc(namespace, "--states", "--undrained")["bytes"] == would["bytes"]
    assert not list(SHM.glob(f"shmtel.{namespace}.*"))


def test_totals_that_standing_processes_share_stay(namespace: str) -> None:
    with Reader(namespace, standby=True, ephemeral=True) as reader:
        reader.poll()
        assert not gc(namespace, "--states")["files"][0]["removed"]
        assert in_child(lambda: read_state(namespace).namespace) == namespace


def test_the_text_says_what_was_done(namespace: str) -> None:
    dead(namespace, records=1, read=1)
    assert "would remove shmtel." in shmtel("gc", "--namespace", namespace, "--dry-run").stdout
    said = shmtel("gc", "--namespace", namespace).stdout.splitlines()
    assert said[0].startswith("removed shmtel.")
    assert said[-1].endswith(" bytes freed")


def test_the_newest_four_recordings_stay_unless_it_is_asked_for_more(namespace: str) -> None:
    for _ in range(6):
        recorded(namespace)
    gc(namespace)
    assert there(namespace) == 4
    gc(namespace, "--undrained")
    assert there(namespace) == 0


def test_a_recording_of_which_a_reader_has_all_that_is_left_says_so(namespace: str) -> None:
    def record() -> None:
        ring = Producer("p", DTYPE, namespace=namespace, capacity=16, policy="overwrite_oldest")
        assert ring.emit_many(np.zeros(50, DTYPE)) == 50
        ended.append(ring)

    ended: list[Producer] = []
    in_child(record)
    for _ in range(2):  # the second one finds it in the state
        with Reader(namespace) as reader:
            assert reader.settle()
            assert reader.snapshot().producers["p"].overwritten == 34
    (kept,) = gc(namespace)["files"]
    assert (kept["removed"], "shmtel dump" in kept["why"]) == (False, True)
    (gone, state) = gc(namespace, "--undrained", "--states")["files"]
    assert gone["why"] == "its producer has ended, and all is read"
    assert state["removed"]
