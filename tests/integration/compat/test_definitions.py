"""Metrics of one name whose definitions differ: in one process, between processes, and from one release to the next."""

from __future__ import annotations

from shmtelemetry import Reader, Telemetry
from tests.integration.compat.test_gauges import FAMILY
from tests.processes import run_python
from tests.readers import reader

CHANGED = (
    FAMILY
    + """
from shmtelemetry.compat.prometheus_client import CollectorRegistry, Counter, Histogram, Summary
def release(kind, *arguments, **named):
    registry = CollectorRegistry()
    metric = kind("metric", "x", *arguments, registry=registry, **named)
    def use():
        child = metric.labels(*["v"] * len(arguments[0])) if arguments else metric
        (child.inc if kind is Counter else child.set if kind is Gauge else child.observe)(1)
    def shown():
        samples = [(s.name, tuple(s.labels.items()), s.value) for f in registry.collect() for s in f.samples]
        return sorted(sample for sample in samples if not sample[0].endswith(("_created", "_sum")))
    return use, shown, generate_latest, registry
def check(number):
    use, shown, text, registry = release(*RELEASES[number][0], **RELEASES[number][1])
    use()
    assert shown() == RELEASES[number][2], shown()
    text(registry)
RELEASES = [
    ((Histogram,), {"buckets": (1, 2)}, [
        ("metric_bucket", (("le", "+Inf"),), 1), ("metric_bucket", (("le", "1.0"),), 1),
        ("metric_bucket", (("le", "2.0"),), 1), ("metric_count", (), 1)]),
    ((Histogram,), {"buckets": (1, 3)}, [
        ("metric_bucket", (("le", "+Inf"),), 1), ("metric_bucket", (("le", "1.0"),), 1),
        ("metric_bucket", (("le", "3.0"),), 1), ("metric_count", (), 1)]),
    ((Histogram,), {"buckets": (1,)}, [
        ("metric_bucket", (("le", "+Inf"),), 1), ("metric_bucket", (("le", "1.0"),), 1), ("metric_count", (), 1)]),
    ((Counter, ["path"]), {}, [("metric_total", (("path", "v"),), 1)]),
    ((Counter, ["path", "code"]), {}, [("metric_total", (("path", "v"), ("code", "v")), 1)]),
    ((Counter, ["code"]), {}, [("metric_total", (("code", "v"),), 1)]),
    ((Summary,), {}, [("metric_count", (), 1)]),
    ((Gauge,), {}, [("metric", (), 1)]),
]
"""
)


def test_workers_whose_definitions_differ_show_what_each_of_them_defined() -> None:
    script = CHANGED + "for number in range(len(RELEASES)): in_child(lambda: check(number))"
    assert "Error" not in run_python(script).stderr


def test_releases_whose_definitions_differ_share_a_named_namespace(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as sidecar:
        for number in range(8):
            done = run_python(CHANGED + f"check({number})", SHMTEL_NAMESPACE=namespace)
            assert "Error" not in done.stderr
        text = sidecar.get("/metrics")
    assert '\nmetric_bucket{le="2.0"} 1.0\n' in text  # the first has the plain name
    assert text.count('{path="v"} 1.0\n') == 1


def test_a_definition_that_another_process_won_at_the_same_moment_is_opened_anew(namespace: str) -> None:
    script = """
from shmtelemetry.compat.prometheus_client import REGISTRY, Counter, generate_latest
from shmtelemetry.compat.prometheus_client.store import store
Counter("first", "x")
store().metrics = lambda: []  # as if nobody had read the other's definition yet
counter = Counter("events", "x", ["code"])
counter.labels("a").inc(5)
generate_latest()
counter.labels("a").inc(2)
print(REGISTRY.get_sample_value("events_total", {"code": "a"}))
"""
    with Telemetry("other", namespace) as other, Reader(namespace, ephemeral=True) as ours:
        other.counter("events_total", labels=["path"]).labels("/").inc()
        ours.poll()
        ours.start()
        assert run_python(script, SHMTEL_NAMESPACE=namespace).stdout == "2.0\n"


def test_names_that_only_one_registry_has_do_not_collide_with_those_of_another() -> None:
    script = """
from shmtelemetry.compat.prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
one, two = CollectorRegistry(), CollectorRegistry()
Counter("a", "x", registry=one).inc(2)
Gauge("a", "x", registry=two).set(3)
Histogram("b", "x", registry=one).observe(2)
Gauge("b_count", "x", registry=two).set(3)
Summary("c", "x", registry=one).observe(2)
Gauge("c_bucket", "x", registry=one).set(3)
old, other = Counter("d", "x", registry=one), Counter("d", "x", registry=two)
old.inc(2), other.inc(3), one.unregister(old)
Histogram("d", "x", registry=one).observe(4)
print([one.get_sample_value(name) for name in ("a_total", "b_count", "c_count", "c_bucket", "d_sum")],
      [two.get_sample_value(name) for name in ("a", "b_count", "d_total")])
"""
    expected = "[2.0, 1.0, 1.0, 3.0, 4.0] [3.0, 3.0, 3.0]\n"
    assert run_python(script).stdout == expected


def test_they_do_not_collide_in_a_named_namespace(namespace: str) -> None:
    script = """
from shmtelemetry.compat.prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
other = CollectorRegistry()
Counter("a", "x").inc(2)
Gauge("a", "x", registry=other).set(3)
print(REGISTRY.get_sample_value("a_total"), other.get_sample_value("a"))
"""
    with reader(namespace, "--ephemeral"):
        assert run_python(script, SHMTEL_NAMESPACE=namespace).stdout == "2.0 3.0\n"


def test_names_of_the_readers_own_figures_are_refused() -> None:
    script = """
from shmtelemetry.compat.prometheus_client import REGISTRY, Counter, generate_latest
for registry in (REGISTRY, None):
    for labels in ((), ("a",)):
        try:
            Counter("shmtel_dropped_records", "x", labels, registry=registry)
        except ValueError as error:
            assert "reserved" in str(error)
        else:
            raise AssertionError("it was taken")
assert b"shmtel_" not in generate_latest()
"""
    run_python(script)
