"""Texts from anywhere, from the instrument through ring, state and reader to who reads what comes out.

The readers are prometheus_client's parsers, the official protobuf runtime, json and csv; a line that begins with
anything but what its family may begin with would be an injected one.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from shmtelemetry import Producer, Reader, Schema, Telemetry, field
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.cli import main
from shmtelemetry.exporters.prometheus import expose
from shmtelemetry.exporters.protobuf import MetricFamilies
from shmtelemetry.metric import MAX_EXEMPLAR_CHARACTERS, Metric, is_label_name
from shmtelemetry.telemetry import MAX_LABEL_LENGTH
from tests.forging import Forgery
from tests.metric_family import read_delimited

EVIL = [
    'x"} 1\n# TYPE evil counter\nevil_total 1\n',
    "\n# EOF\n",
    "\r\nevil 1\r\n",
    "\\",
    '\\"',
    "\\n",
    "\0",
    "\x0b\x0c\x1b[31m\x85\u2028\u2029evil 1",
    "\u202eevil\u2066\u200f\ufeff",
    "é" * (MAX_LABEL_LENGTH // 2),
    "\n" * MAX_LABEL_LENGTH,
    "\U0010ffff" * (MAX_LABEL_LENGTH // 4),
    "=,{}# ",
    "",
]
unicode = st.characters(exclude_categories=["Cs"])
texts = (
    st.sampled_from(EVIL)
    | st.text(unicode, max_size=40)
    | st.text(st.sampled_from('\\"\n\r\0{}=,# \u2028n'), max_size=12)
)
helps = texts.map(str.strip)  # the parsers take blanks off
HEADS = rb"# (HELP|TYPE|UNIT) (%b)(_created)? |(%b)(_total|_bucket|_count|_sum|_created)?(\{| )|# EOF$"


def read_text(snapshot: Snapshot, name: str) -> Iterator[tuple[str, list[Sample]]]:
    """(help, samples) of a family in each of the two formats."""
    for openmetrics, parse in ((False, parse_text), (True, parse_openmetrics)):
        assert_no_line_is_injected(expose(snapshot, openmetrics), snapshot)
        plain = {name: replace(one, exemplars=()) for name, one in snapshot.families.items()}
        # That parser gets quotes in exemplars wrong.
        written = expose(replace(snapshot, families=plain), openmetrics)
        (found,) = (one for one in parse(written.decode()) if one.name == name)
        yield found.documentation, [one for one in found.samples if not one.name.endswith("_created")]


def assert_no_line_is_injected(written: bytes, snapshot: Snapshot) -> None:
    names = b"|".join(name.removesuffix("_total").encode() + b"(?:_total)?" for name in snapshot.families)
    head = re.compile(HEADS % (names, names))
    assert [line for line in written.split(b"\n")[:-1] if not head.match(line)] == []
    assert written.endswith(b"\n")


@given(values=st.lists(texts, min_size=1, max_size=4, unique=True), help=helps, exemplar=texts)
@example(values=EVIL, help=EVIL[0].strip(), exemplar=EVIL[0])
def test_label_values_helps_and_exemplars_arrive_as_they_were_given(
    namespace: str, values: list[str], help: str, exemplar: str
) -> None:
    exemplar = exemplar[: MAX_EXEMPLAR_CHARACTERS - len("trace_id")]
    with (
        Reader(namespace, ephemeral=True, windows=False) as reader,
        Telemetry("p", namespace, capacity=64) as telemetry,
    ):
        counter = telemetry.counter("given_total", help, labels=("where", "from"))
        for number, value in enumerate(values, 1):
            counter.labels(value, value[::-1]).emit(number, exemplar)
        reader.poll()
        snapshot = reader.snapshot()
    wanted = {(value, value[::-1]): float(number) for number, value in enumerate(values, 1)}
    for documentation, samples in read_text(snapshot, "given"):
        assert documentation == help
        assert {(one.labels["where"], one.labels["from"]): one.value for one in samples} == wanted
    (family,) = (one for one in read_delimited(MetricFamilies().expose(snapshot)) if one.name == "given_total")
    assert family.help == help
    pairs = [({label.name: label.value for label in one.label}, one.counter) for one in family.metric]
    assert {(labels["where"], labels["from"]): one.value for labels, one in pairs} == wanted
    assert [[(label.name, label.value) for label in one.exemplar.label] for _, one in pairs] == [
        [("trace_id", exemplar)] if exemplar else []
    ] * len(values)


@given(stored=st.lists(st.binary(max_size=24) | texts.map(lambda text: text.encode()[:24]), min_size=1, max_size=4))
@example(stored=[text.encode()[:24] for text in EVIL])
def test_bytes_of_a_record_arrive_as_the_text_that_they_are(namespace: str, stored: list[bytes]) -> None:
    schema = Schema([("who", "S24"), ("n", "<u8")], {"who": field("label"), "n": field("counter", name="given")})
    with Reader(namespace, ephemeral=True, windows=False) as reader:
        with Producer("p", schema, namespace, capacity=64) as ring:
            assert all(ring.emit_fields(who, 1) for who in stored)
        reader.poll()
        snapshot = reader.snapshot()
    wanted = Counter(who.rstrip(b"\0").decode(errors="replace") for who in stored)
    for _, samples in read_text(snapshot, "given"):
        assert {one.labels["who"]: one.value for one in samples} == wanted


@given(name=texts | st.text(st.sampled_from("aZ_:09\n -é٣"), max_size=6))
def test_a_name_is_refused_or_one_that_every_format_can_write(name: str) -> None:
    assert is_label_name(name) == bool(re.fullmatch(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", name, re.ASCII))
    if re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name, re.ASCII):
        assert Metric(name, "gauge").name == name
    else:
        with pytest.raises(ValueError, match=r"^metric name [^\n]*\Z"):
            Metric(name, "gauge")


@given(help=texts, labels=st.lists(texts, max_size=3))
def test_a_definition_comes_back_from_its_json(help: str, labels: list[str]) -> None:
    values = dict(enumerate(labels))
    defined = Metric("m", "histogram", help, ("a", "b"), (0.5, 1.0), "")
    assert Metric.from_json(json.dumps(json.loads(defined.to_json())).encode()) == defined
    schema = Schema([("k", "u1"), ("v", "f8")], {"k": field("label", values=values), "v": field("gauge", help=help)})
    assert b"\n" not in schema.to_json()
    assert Schema.from_json(schema.to_json()) == schema


def dumped(namespace: str, form: str) -> str:
    done = CliRunner().invoke(main, ["dump", "p", "--namespace", namespace, "--format", form])
    assert done.exit_code == 0, done.output
    return done.stdout_bytes.decode()


@given(values=st.lists(texts, min_size=1, max_size=4, unique=True))
@example(values=EVIL)
def test_label_values_come_back_from_dumps_of_csv_and_json_lines(namespace: str, values: list[str]) -> None:
    with Telemetry("p", namespace, capacity=64) as telemetry:
        counter = telemetry.counter("given_total", labels=("where", "from"))
        for number, value in enumerate(values, 1):
            counter.labels(value, value[::-1]).emit(number)
        table, lines = dumped(namespace, "csv"), dumped(namespace, "jsonl")
        telemetry._producer.segment.unlink()
    wanted = [("given_total", {"where": value, "from": value[::-1]}, n) for n, value in enumerate(values, 1)]
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert [(row["metric"], json.loads(row["labels"]), float(row["value"])) for row in rows] == wanted
    found = [json.loads(line) for line in lines.split("\n")[:-1]]
    assert [(row["metric"], row["labels"], row["value"]) for row in found] == wanted


@given(stored=st.lists(st.binary(max_size=24) | texts.map(lambda text: text.encode()[:24]), min_size=1, max_size=4))
@example(stored=[text.encode()[:24] for text in EVIL])
def test_bytes_of_records_come_back_from_dumps_of_csv_and_json_lines(namespace: str, stored: list[bytes]) -> None:
    with Producer("p", [("who", "S24"), ("n", "<u8")], namespace, capacity=64) as ring:
        assert all(ring.emit_fields(who, number) for number, who in enumerate(stored))
        table, lines = dumped(namespace, "csv"), dumped(namespace, "jsonl")
        ring.segment.unlink()
    wanted = [(who.rstrip(b"\0").decode(errors="backslashreplace"), number) for number, who in enumerate(stored)]
    assert [(who, int(n)) for who, n in list(csv.reader(io.StringIO(table, newline="")))[1:]] == wanted
    found = [json.loads(line) for line in lines.split("\n")[:-1]]
    assert [(row["who"], row["n"]) for row in found] == wanted


@given(said=texts.filter(lambda text: len(text) <= 20))
def test_what_a_segment_says_is_quoted_in_one_line_of_ls_and_in_its_json(namespace: str, said: str) -> None:
    with Producer("p", [("n" * 250, "<u8")], namespace, capacity=8) as ring:
        forged = Forgery(ring.segment)
        stored = {"fields": [["n", said + "!", 0]], "itemsize": 8, "roles": {}, "events": False}
        forged.set_schema(json.dumps(stored).encode())
        path = forged.put()
        listed, shown = (CliRunner().invoke(main, ["ls", "--namespace", namespace, *form]) for form in (["--json"], []))
        path.unlink()
    broken, sound = json.loads(listed.stdout)
    assert (broken["name"], sound["error"]) == (path.name, None)
    assert broken["error"].endswith(f"unknown field format {said + '!'!r}")
    assert len(shown.stdout.split("\n")) == 4  # a head, two segments, and the end of the last line
