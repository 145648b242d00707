"""Code that is instrumented with OpenTelemetry's API, as processes of its own."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator

import pytest
from opentelemetry.metrics import CallbackOptions, Observation

from shmtelemetry import Reader, Telemetry
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.contrib.opentelemetry import MeterProvider
from shmtelemetry.contrib.semantic import MAX_SETS, label_name, label_value, metric_name
from tests.processes import child, run_python, wait_until

APPLICATION = """
from opentelemetry import metrics
from opentelemetry.metrics import Observation

meter = metrics.get_meter("shop", "1.0")
requests = meter.create_counter("http.server.requests", "{request}", "Requests.")
for _ in range(1000):
    requests.add(1, {"http.request.method": "GET", "http.response.status_code": 200})
meter.create_histogram("http.server.request.duration", "s", "Duration.").record(0.25, {"http.route": "/"})
active = meter.create_up_down_counter("http.server.active_requests")
active.add(3)
active.add(-1)
meter.create_gauge("room.temperature", "Cel").set(21.5, {"room": "a"})
meter.create_observable_gauge("load", [lambda options: [Observation(3.5)]])
meter.create_observable_counter("cpu.time", [lambda options: [Observation(7.0)]], "s")
"""


class Scene:
    def __init__(self, namespace: str, telemetry: Telemetry, reader: Reader) -> None:
        self.provider = MeterProvider(telemetry, interval=0.01)
        self.meter = self.provider.get_meter("test")
        self._reader = reader

    def look(self) -> Snapshot:
        self._reader.poll()
        return self._reader.snapshot()


@pytest.fixture
def scene(namespace: str) -> Iterator[Scene]:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as reader:
        scene = Scene(namespace, telemetry, reader)
        yield scene
        scene.provider.shutdown()


def test_an_application_needs_one_variable(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        run_python(APPLICATION, OTEL_PYTHON_METER_PROVIDER="shmtelemetry", SHMTEL_NAMESPACE=namespace)
        reader.poll()
        seen = reader.snapshot()
    labels = {"http_request_method": "GET", "http_response_status_code": "200"}
    assert seen.value("http_server_requests_total", **labels) == 1000
    assert seen.histogram("http_server_request_duration_seconds", http_route="/").sum == 0.25
    assert seen.value("room_temperature_celsius", room="a") == 21.5
    assert seen.value("cpu_time_seconds_total") == 7.0
    assert seen.value("load") == 3.5
    assert "opentelemetry" in seen.producers


def test_up_and_down_add_up_over_processes_that_live(scene: Scene) -> None:
    active = scene.meter.create_up_down_counter("active")
    active.add(3)
    active.add(-1)
    assert scene.look().value("active") == 2

    def add_and_stay() -> None:
        active.add(10)
        signal.pause()

    with child(add_and_stay):
        wait_until(lambda: scene.look().value("active") == 12, "the child's part is added, and none of its parent's")
    assert scene.look().value("active") == 2


def test_labels_are_those_of_the_first_use_and_what_more_there_is_is_said_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    counter = scene.meter.create_counter("jobs")
    counter.add(1, {"queue": "a", "kind": [1, 2]})
    counter.add(1, {"kind": (1, 2), "queue": "a"})
    counter.add(1, {"queue": "a"})
    for _ in range(2):
        counter.add(1, {"queue": "a", "kind": "x", "more": True})
    seen = scene.look()
    assert [seen.value("jobs_total", queue="a", kind=kind) for kind in ("[1, 2]", "", "x")] == [2, 1, 2]
    assert len([line for line in caplog.messages if "more are left out" in line]) == 1


def test_what_cannot_be_raises_nothing_and_is_left_out(scene: Scene) -> None:
    counter, histogram = scene.meter.create_counter("steps"), scene.meter.create_histogram("sizes", "By")
    for amount in (-1, math.nan, "text", None):
        counter.add(amount)  # type: ignore[arg-type]
        histogram.record(math.nan)
    counter.add(2)
    scene.meter.create_gauge("steps.total").set(5.0)  # the name is a counter's
    seen = scene.look()
    assert seen.value("steps_total") == 2
    assert scene.meter.create_counter("steps")._points is counter._points  # from whichever meter


def test_attribute_sets_are_bounded(scene: Scene) -> None:
    counter = scene.meter.create_counter("visits")
    for user in range(MAX_SETS + 50):
        counter.add(1, {"user": user})
    seen = scene.look()
    assert len(seen.families["visits_total"].labels) == MAX_SETS + 1
    assert seen.value("visits_total", user="overflow") == 50


def test_callbacks_are_asked_again_and_one_that_fails_harms_no_other(scene: Scene) -> None:
    totals = [5.0, 9.0, 2.0]

    def fails(options: CallbackOptions) -> list[Observation]:
        raise RuntimeError("no sensor")

    def told(options: CallbackOptions) -> list[Observation]:
        return [Observation(totals.pop(0))] if totals else []

    scene.meter.create_observable_gauge("broken", [fails])
    scene.meter.create_observable_counter("bytes.sent", [told], "By")
    wait_until(lambda: not totals, "all totals are told")
    scene.provider.shutdown()
    assert scene.look().value("bytes_sent_bytes_total") == 5 + 4 + 2  # one that falls has begun anew


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
        ("requests", "{request}", "counter", "requests_total"),
        ("requests_total", "", "counter", "requests_total"),
        ("system.memory.usage", "By", "gauge", "system_memory_usage_bytes"),
        ("memory_bytes", "By", "gauge", "memory_bytes"),
        ("disk.utilization", "1", "gauge", "disk_utilization_ratio"),
        ("speed", "m/s", "gauge", "speed_meters_per_second"),
        ("9.lives", "", "gauge", "_9_lives"),
    ],
)
def test_names_are_those_of_the_exporter_for_prometheus(name: str, unit: str, kind: str, expected: str) -> None:
    assert metric_name(name, unit, kind) == expected


def test_labels_are_legal_whatever_attributes_are() -> None:
    assert [label_name(key) for key in ("a.b", "__x", "le", "1st", "ü", "")] == [
        "a_b", "x", "key_le", "_1st", "key_", "key_",
    ]  # fmt: skip
    assert [label_value(value) for value in ("x", True, 1.5, [1, "a"])] == ["x", "true", "1.5", '[1, "a"]']
    assert len(label_value("ü" * 10_000).encode()) <= 4096
