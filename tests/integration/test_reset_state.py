"""A state that cannot be used stays as it is, and a reader begins from zero only when it is told to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from shmtelemetry import Reader, Telemetry, read_state
from shmtelemetry.aggregate.series import HEADER, field_offset
from shmtelemetry.errors import ReaderBusyError
from shmtelemetry.segment import segment_names
from tests.processes import in_child
from tests.readers import shmtel
from tests.reading import SHM, state_of

BAD = ("truncated", "flipped", "foreign", "older")


def make_bad(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        del content[len(content) // 2 :]
    elif how == "flipped":
        content[len(content) // 4] ^= 16
    elif how == "foreign":
        content[:] = b"somebody's notes\n" * 1000
    else:
        content[field_offset(HEADER, "version")] -= 1
    path.write_bytes(content)


def kept(namespace: str) -> list[Path]:
    return sorted(SHM.glob(f"shmtel.{namespace}.@state.*.bad-*"))


def remove_all(namespace: str) -> None:
    for path in [*kept(namespace), state_of(namespace)]:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("how", BAD)
def test_a_bad_state_is_kept_aside_and_the_reader_starts_from_zero_only_with_reset_state(
    namespace: str, how: str
) -> None:
    with Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc(5)
        Reader(namespace).close()
        make_bad(state_of(namespace), how)
        bad = state_of(namespace).read_bytes()

        refused = shmtel("reader", "--namespace", namespace, "--once")
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"shmtel: the state of namespace {namespace} ")
        assert "--reset-state" in refused.stderr
        assert refused.stderr.count("\n") == 1
        assert refused.stdout == ""
        assert state_of(namespace).read_bytes() == bad
        assert kept(namespace) == []

        telemetry.counter("c").inc(2)
        reset = shmtel("reader", "--namespace", namespace, "--once", "--reset-state")
        assert reset.returncode == 0, reset.stderr
        assert "\nc_total 2.0\n" in reset.stdout
        (aside,) = kept(namespace)
        assert aside.read_bytes() == bad
        assert aside.name in reset.stderr
    remove_all(namespace)


def test_a_good_state_is_kept_aside_just_as_well_and_every_time_under_another_name(namespace: str) -> None:
    for value in (1, 2):
        with Reader(namespace, reset_state=True) as reader, Telemetry("p", namespace) as telemetry:
            telemetry.counter("c").inc(value)
            reader.poll()
            assert reader.snapshot().value("c_total") == value
            assert read_state(namespace).value("c_total") == value
    Reader(namespace, reset_state=True).close()
    assert len(kept(namespace)) == 2
    remove_all(namespace)


def test_with_reset_state_a_namespace_without_a_state_is_as_without(namespace: str) -> None:
    Reader(namespace, reset_state=True, ephemeral=True).close()
    assert kept(namespace) == []


def test_only_who_holds_the_readers_lock_resets_a_state(namespace: str) -> None:
    with Reader(namespace, ephemeral=True):
        for remove in (False, True):
            if remove:  # its lock is on the state as well
                SHM.joinpath(f"shmtel.{namespace}.@reader.{os.geteuid()}").unlink()
            with pytest.raises(ReaderBusyError):
                Reader(namespace, reset_state=True)
            assert kept(namespace) == []
            assert state_of(namespace).exists()


def test_who_waits_for_the_role_cannot_reset(namespace: str) -> None:
    with pytest.raises(ValueError, match="reset_state and standby"):
        Reader(namespace, standby=True, reset_state=True)


def test_a_state_kept_aside_is_listed_and_is_nobodys_segment_or_state(namespace: str) -> None:
    Reader(namespace).close()
    Reader(namespace, reset_state=True).close()
    (aside,) = kept(namespace)
    assert list(segment_names(namespace)) == []
    (row,) = json.loads(shmtel("ls", "--namespace", namespace, "--json").stdout)
    assert (row["name"], row["namespace"], row["producer"]) == (aside.name, namespace, "@state")
    assert row["bytes"] == aside.stat().st_size
    assert str(aside) in row["error"]
    assert str(aside) in shmtel("ls").stdout
    assert in_child(lambda: len(read_state(namespace).families)) > 0
    remove_all(namespace)
