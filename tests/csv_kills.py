"""kill -9 of ingesters and readers while a log grows and is rotated; afterwards each row was counted once."""

from __future__ import annotations

import os
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from random import Random

from shmtelemetry import Reader, read_state
from shmtelemetry.errors import SegmentError
from shmtelemetry.segment import attach, segment_names
from tests.csv_log import HEADER, assert_rows, await_rows, following, forget, lines
from tests.kills import Asked
from tests.processes import child, wait_until
from tests.reading import read_until_killed, running_reader, state_of, talker, write_position

ROWS = 20  # that are written at once
ROTATION = 15_000  # rows of one file


def write_log(path: Path, asked: Asked) -> int:
    """Append rows until asked to end; every so many rows the file is rotated, by turns in the two ways that there are.
    Returns how many there are."""
    row = 0
    file = path.open("a")
    file.write(HEADER + "\n")
    while not asked():
        file.write(lines(row + 1, row + ROWS))
        file.flush()
        row += ROWS
        time.sleep(0.001)
        if row % ROTATION == 0:
            rotated = path.with_name(f"{path.name}.{row // ROTATION}")
            if row % (2 * ROTATION):
                os.rename(path, rotated)
                file.close()
                file = path.open("a")
            else:
                shutil.copyfile(path, rotated)
                os.truncate(path, 0)
            file.write(HEADER + "\n")
    file.close()
    return row


def written(namespace: str, pid: int) -> int:
    """Records that a process has published as the ingester; -1 before it has a ring."""
    for name in segment_names(namespace, "csv"):
        try:
            segment = attach(name)
        except SegmentError:
            continue
        try:
            if segment.header.pid == pid:
                return write_position(segment)
        finally:
            segment.close()
    return -1


def kill_ingesters(folder: Path, namespace: str, kills: int, chance: Random) -> int:
    """Kill so many ingesters, and a reader for every fourth of them; returns how many rows were counted."""
    path = folder / "telemetry.log"
    with talker(partial(write_log, path)) as writer:
        done = 0
        while done < kills:
            with child(partial(read_until_killed, namespace)) as reader:
                wait_until(state_of(namespace).exists, "there is a state")
                for _ in range(min(4, kills - done)):
                    kill_one(path, namespace, chance)
                    done += 1
                os.kill(reader, signal.SIGKILL)
        last: int = writer.finish()
    with running_reader(namespace), following(path, namespace):
        await_rows(namespace, last)
        assert_rows(read_state(namespace), last)
    with Reader(namespace, ephemeral=True):
        pass
    forget(namespace)
    return last


def kill_one(path: Path, namespace: str, chance: Random) -> None:
    with following(path, namespace) as pid:
        goal = chance.choice((-1, 0, 1, chance.randrange(1, 200), chance.randrange(200, 12_000)))
        wait_until(lambda: written(namespace, pid) >= goal, "it has published so many records")
        os.kill(pid, signal.SIGKILL)
