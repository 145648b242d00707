"""Files with columns of their own, which a TOML file names."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from shmtelemetry import Reader
from shmtelemetry.sources.csv.columns import read_columns
from tests.csv_log import forget, take
from tests.readers import shmtel

COLUMNS = """
[columns.at]
role = "time"
unit = "ms"
[columns.symbol]
role = "label"
[columns.note]
role = "ignore"
[columns.fills]
role = "counter"
name = "fills_total"
help = "Fills."
[columns."sent so far"]
role = "total"
name = "sent_total"
[columns.position]
role = "gauge"
name = "position_quantity"
[columns.latency]
role = "histogram"
name = "fill_latency_seconds"
unit = "us"
buckets = [0.001, 0.01]
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "columns.toml"
    path.write_text(text)
    return str(path)


def test_each_role_does_what_it_says_and_totals_go_on_for_each_label(namespace: str, tmp_path: Path) -> None:
    log, columns = tmp_path / "fills.csv", read_columns(written(tmp_path, COLUMNS))
    with Reader(namespace, ephemeral=True) as reader:
        log.write_text('1700000000000,A,x,2,10,-1.5,500\n1700000000001,"B","y,z",3,7,2,2000\n')
        take(log, namespace, columns=columns)
        reader.poll()
        with log.open("a") as file:
            file.write("1700000000002,A,,1,15,0.5,20000\n")
        take(log, namespace, columns=columns)
        reader.settle()
        snapshot = reader.snapshot()
        assert snapshot.value("fills_total", symbol="A") == 3
        assert snapshot.value("sent_total", symbol="A") == 15
        assert snapshot.value("sent_total", symbol="B") == 7
        assert snapshot.value("position_quantity", symbol="A") == 0.5
        assert snapshot.families["position_quantity"].times is not None
        assert snapshot.families["position_quantity"].times[0] == 1_700_000_000_002_000_000
        latency = snapshot.histogram("fill_latency_seconds", symbol="A")
        assert latency.buckets == ((0.001, 1), (0.01, 1), (math.inf, 2))
        assert (latency.min, latency.max) == (0.0005, 0.02)
    forget(namespace)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "tables"),
        ("columns = 3", "tables"),
        ("[other]\n", "tables"),
        ("[columns.a\n", "TOML"),
        ("[columns]\na = 3\n", "expected a table"),
        ('[columns.a]\nrole = "sum"\n', "role = 'sum'"),
        ('[columns.a]\nname = "a_total"\n', "role = None"),
        ('[columns.a]\nrole = "gauge"\nunits = "ms"\n', "no key units"),
        ('[columns.a]\nrole = "gauge"\nunit = "parsec"\n', "unit = 'parsec'"),
        ('[columns.a]\nrole = "gauge"\nname = 7\n', "name = 7"),
        ('[columns.a]\nrole = "time"\nunit = "bytes"\n[columns.b]\nrole = "gauge"\n', "of a time"),
        ('[columns.a]\nrole = "label"\n', "no column is a counter"),
        ('[columns.a]\nrole = "histogram"\nbuckets = ["x"]\n', r"\[columns.a\]"),
        (f'[columns.a]\nrole = "histogram"\nbuckets = [{10**400}]\n', r"\[columns.a\]"),
        ('[columns."a\\n"]\nrole = "sum"\n', "role = 'sum'"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("#" * 2**21, "more than 1,048,576 bytes"),
        ("".join(f'[columns.c{at}]\nrole = "gauge"\n' for at in range(17)), "at most 16"),
        ("".join(f'[columns.c{at}]\nrole = "ignore"\n' for at in range(257)), "tables"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        read_columns(written(tmp_path, text))
    assert "columns.toml" in str(raised.value)
    assert str(raised.value).isprintable()  # one line


def test_what_cannot_be_is_wrong_use(namespace: str, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("1\n")
    bad = written(tmp_path, '[columns.a]\nrole = "gauge"\nname = "a b"\n')
    for arguments, said in (
        ((str(log), "--columns", str(tmp_path / "none")), "cannot be read"),
        ((str(log), "--columns", bad), "metric name 'a b'"),
        ((str(log), "--producer-id", "x" * 65), "at most 64 bytes"),
        ((), "either FILE or --generate"),
    ):
        done = shmtel("ingest", "csv", *arguments, "--namespace", namespace)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert said in done.stderr
