"""What an application does with prometheus_client, to be done with either module.

`python -m tests.differential MODULE` prints, as JSON, what each case gave: its result, or its error.
"""

from __future__ import annotations

import asyncio
import gzip
import importlib
import inspect
import io
import json
import math
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

CASES: dict[str, Callable[[Any], Any]] = {}


def case(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    CASES[function.__name__] = function
    return function


def errors(*calls: Callable[[], Any]) -> list[str]:
    """What each call raises, as type and text, or what it returns."""
    outcomes = []
    for call in calls:
        try:
            outcomes.append(f"returned {call()!r}")
        except Exception as error:
            outcomes.append(f"{type(error).__name__}: {error}")
    return outcomes


def shown(p: Any, registry: Any, **how: Any) -> str:
    """The text of a registry, without the moments of creation."""
    return undated(p.generate_latest(registry, **how).decode())


def undated(text: str) -> str:
    return re.sub(r"(_created\S* )\S+", r"\1then", text)


def openmetrics(p: Any, registry: Any) -> str:
    module = importlib.import_module(f"{p.__name__}.openmetrics.exposition")
    text = undated(module.generate_latest(registry).decode())
    return re.sub(r"(# \{.*\} \S+) \S+", r"\1 then", text)


def samples(registry: Any) -> list[Any]:
    """Everything that collect gives, but for moments."""
    return [
        (family.name, family.documentation, family.type, family.unit,
         [(s.name, s.labels, "then" if s.name.endswith("_created") else repr(float(s.value))) for s in family.samples])
        for family in registry.collect()
    ]  # fmt: skip


def every_metric(p: Any, registry: Any) -> dict[str, Any]:
    return {
        "counter": p.Counter("c", "A counter.", ["x", "y"], registry=registry),
        "gauge": p.Gauge("g", "A gauge.", ["x", "y"], registry=registry),
        "histogram": p.Histogram("h", "A histogram.", ["x", "y"], registry=registry),
        "summary": p.Summary("s", "A summary.", ["x", "y"], registry=registry),
        "info": p.Info("i", "An info.", ["x", "y"], registry=registry),
        "enum": p.Enum("e", "An enum.", ["x", "y"], registry=registry, states=["on", "off"]),
    }


# ---- definitions ----


@case
def names(p: Any) -> Any:
    registry = p.CollectorRegistry()
    p.Counter("requests_total", "With the suffix.", registry=registry).inc()
    p.Counter("errors", "Without.", namespace="app", subsystem="web", unit="widgets", registry=registry).inc(2)
    p.Counter("total_total_total", "Twice.", registry=registry).inc()
    p.Gauge("size_bytes", "Of a thing.", unit="bytes", registry=registry).set(5)
    p.Histogram("took", "Time.", unit="seconds", registry=registry).observe(0.2)
    p.Summary("took_too", "Time.", unit="fortnights", registry=registry).observe(0.2)
    p.Info("build", "Version.", registry=registry).info({"version": "1"})
    first = openmetrics(p, registry)
    p.Gauge("colons:are:legal", "x", registry=registry).set(1)
    return shown(p, registry), first, samples(registry)


@case
def names_that_cannot_be(p: Any) -> Any:
    r = p.CollectorRegistry()
    return errors(
        lambda: p.Counter("", "x", registry=r),
        lambda: p.Counter("a", "x", labelnames=["__reserved"], registry=r),
        lambda: p.Histogram("a", "x", labelnames=["le"], registry=r),
        lambda: p.Summary("a", "x", labelnames=["quantile"], registry=r),
        lambda: p.Info("a", "x", unit="x", registry=r),
        lambda: p.Enum("a", "x", states=["x"], unit="x", registry=r),
        lambda: p.Enum("a", "x", registry=r),
        lambda: p.Enum("a", "x", labelnames=["a"], states=["x"], registry=r),
        lambda: p.Gauge("a", "x", multiprocess_mode="no", registry=r),
        lambda: p.Histogram("a", "x", buckets=[2, 1], registry=r),
        lambda: p.Histogram("a", "x", buckets=[], registry=r),
        lambda: p.Histogram("a", "x", buckets=[math.inf], registry=r),
        lambda: samples(r),
    )


@case
def names_beyond_ascii(p: Any) -> Any:
    registry = p.CollectorRegistry()
    p.Counter("größe.ganz", "Ä.", ["straße"], registry=registry).labels("b").inc()
    p.Gauge("a b", "Ä.", registry=registry).set(1)
    return shown(p, registry), shown(p, registry, escaping="allow-utf-8"), openmetrics(p, registry)


@case
def escapings(p: Any) -> Any:
    registry = p.CollectorRegistry()
    p.Counter("a_b", "x", ["l_m"], registry=registry).labels("v").inc()
    return [shown(p, registry, escaping=how) for how in ("underscores", "allow-utf-8", "dots", "values")]


@case
def duplicates(p: Any) -> Any:
    r = p.CollectorRegistry()
    kept = p.Counter("a", "x", registry=r)
    kept.inc(3)
    p.Histogram("b", "x", registry=r)
    raised = errors(
        lambda: p.Counter("b", "x", registry=r),
        lambda: p.Gauge("a_total", "x", registry=r),
        lambda: p.Gauge("b_count", "x", registry=r),
        lambda: p.Summary("a", "x", registry=r),
    )
    words = [re.sub(r"\{.*\}", lambda found: str(sorted(eval(found[0]))), text) for text in raised]
    return words, samples(r)


@case
def registered_again(p: Any) -> Any:
    r = p.CollectorRegistry()
    first = p.Counter("a", "x", registry=r)
    first.inc(3)
    r.unregister(first)
    without = samples(r)
    second = p.Counter("a", "x", registry=r)
    second.inc()
    between = samples(r)
    r.unregister(second)
    first.inc()
    r.register(first)
    return without, between, samples(r), errors(lambda: r.unregister(second))[0].split(":")[0]


@case
def registries_have_nothing_in_common(p: Any) -> Any:
    found = []
    for turn in range(3):
        r = p.CollectorRegistry()
        c = p.Counter("shared", "x", registry=r)
        h = p.Histogram("shared_h", "x", ["l"], registry=r)
        c.inc(turn + 1)
        h.labels("a").observe(1)
        found.append((samples(r)[0], r.get_sample_value("shared_h_count", {"l": "a"})))
        del c, h, r
    alone = p.Counter("shared", "x", registry=None)
    alone.inc()
    return found, [s.value for s in next(iter(alone.collect())).samples][:1]


# ---- labels ----


@case
def labels(p: Any) -> Any:
    registry = p.CollectorRegistry()
    every = every_metric(p, registry)
    c = every["counter"]
    same = c.labels("1", "2") is c.labels(1, 2) is c.labels(y=2, x="1")
    c.labels(None, True).inc()
    c.labels('ünï\n\\"', "").inc(2)
    every["gauge"].labels(1.5, b"b").set(3)
    raised = errors(
        lambda: c.labels("a"),
        lambda: c.labels("a", "b", "c"),
        lambda: c.labels("a", y="b"),
        lambda: c.labels(x="a"),
        lambda: c.labels(x="a", z="b"),
        lambda: c.labels(),
        lambda: c.labels("a", "b").labels("c", "d"),
        lambda: p.Counter("plain", "x", registry=None).labels("a"),
        lambda: c.inc(),
        lambda: c.inc(-1),
        lambda: every["gauge"].set(1),
        lambda: every["gauge"].inc(),
        lambda: every["gauge"].dec(),
        lambda: every["gauge"].set_function(lambda: 1.0),
        lambda: every["gauge"].track_inprogress(),
        lambda: every["histogram"].observe(1),
        lambda: every["summary"].observe(1),
        lambda: c.count_exceptions(),
        lambda: every["enum"].state("on"),
    )
    raised = [re.sub(r"(shmtelemetry\.compat\.)?prometheus_client", "", text) for text in raised]
    return same, raised, samples(registry), shown(p, registry)


@case
def label_values_of_odd_types(p: Any) -> Any:
    import enum

    class Method(str, enum.Enum):  # noqa: UP042  # whose str() is another
        GET = "get"

    registry = p.CollectorRegistry()
    c = p.Counter("c", "x", ["m"], registry=registry)
    c.labels("get").inc()
    c.labels(Method.GET).inc(10)
    return samples(registry)


@case
def children_show_at_once(p: Any) -> Any:
    registry = p.CollectorRegistry()
    for metric in every_metric(p, registry).values():
        metric.labels("a", "b")
    p.Counter("never", "x", registry=registry)
    p.Gauge("never_g", "x", registry=registry)
    p.Histogram("never_h", "x", registry=registry)
    p.Summary("never_s", "x", registry=registry)
    p.Counter("no_children", "x", ["a"], registry=registry)
    return samples(registry), shown(p, registry), openmetrics(p, registry)


@case
def series_removed(p: Any) -> Any:
    found = []
    for name in ("counter", "gauge", "histogram", "summary"):
        registry = p.CollectorRegistry()
        metric = every_metric(p, registry)[name]
        step = "observe" if name in ("histogram", "summary") else "inc"
        for x in "abc":
            getattr(metric.labels(x, "1"), step)(2)
            getattr(metric.labels(x, "2"), step)(3)
        kept = metric.labels("a", "1")
        metric.remove("a", 1)
        getattr(kept, step)(100)
        found.append(samples(registry))
        getattr(metric.labels("a", "1"), step)(1)
        found.append(samples(registry))
        metric.remove_by_labels({"x": "b"})
        found.append(samples(registry))
        metric.remove("never", "there")
        metric.clear()
        found.append(samples(registry))
        getattr(metric.labels("c", "1"), step)(1)
        found.append(samples(registry))
        found.append(
            errors(
                lambda metric=metric: metric.remove("a"),
                lambda metric=metric: metric.remove_by_labels({"q": "b"}),
                lambda metric=metric: metric.remove_by_labels([]),
                lambda: p.Counter("plain", "x", registry=None).remove("a"),
                lambda: p.Counter("plain", "x", registry=None).clear(),
            )
        )
    return found


# ---- counters ----


@case
def counter(p: Any) -> Any:
    registry = p.CollectorRegistry()
    c = p.Counter("c", "x", registry=registry)
    returned = [c.inc(), c.inc(2), c.inc(0), c.inc(amount=0.5), c.inc(True), c.inc(Fraction(1, 4))]
    raised = errors(lambda: c.inc(-1), lambda: c.inc(-1e-9), lambda: c.inc(-math.inf))
    kinds = [text.split(":")[0] for text in errors(lambda: c.inc("1"), lambda: c.inc(None), lambda: c.inc([]))]
    return returned, raised, kinds, samples(registry), registry.get_sample_value("c_total"), c._value.get()


@case
def counter_of_large_numbers(p: Any) -> Any:
    registry = p.CollectorRegistry()
    c = p.Counter("c", "x", registry=registry)
    for amount in (1e15, 2**60, 1e300, 0.1, 1e-300):
        c.inc(amount)
    return samples(registry), errors(lambda: c.inc(10**400))


@case
def counter_that_is_spoilt(p: Any) -> Any:
    registry = p.CollectorRegistry()
    c = p.Counter("c", "x", ["l"], registry=registry)
    c.labels("nan").inc(math.nan)
    c.labels("nan").inc(1)
    c.labels("inf").inc(math.inf)
    c.labels("both").inc(math.inf)
    c.labels("both").inc(math.nan)
    c.labels("fine").inc()
    return samples(registry), shown(p, registry)


@case
def counter_reset(p: Any) -> Any:
    registry = p.CollectorRegistry()
    c, d = p.Counter("c", "x", registry=registry), p.Counter("d", "x", ["l"], registry=registry)
    c.inc(5)
    d.labels("a").inc(5)
    c.reset()
    d.labels("a").reset()
    at_once = samples(registry)
    c.inc()
    d.labels("a").inc(2)
    return at_once, samples(registry)


# ---- gauges ----


@case
def gauge(p: Any) -> Any:
    registry = p.CollectorRegistry()
    values = []
    g = p.Gauge("g", "x", registry=registry)

    def look() -> None:
        values.append(repr(registry.get_sample_value("g")))

    look()
    for step in (
        lambda: g.inc(), lambda: g.inc(0.1), lambda: g.inc(0.2), lambda: g.dec(5), lambda: g.set(7),
        lambda: g.set(-0.5), lambda: g.inc(2), lambda: g.set("1.5"), lambda: g.set(math.inf), lambda: g.set(-math.inf),
        lambda: g.set(math.nan), lambda: g.inc(), lambda: g.set(0), lambda: g.dec(), lambda: g.set(True),
        lambda: g.set(Fraction(1, 3)), lambda: g.set(2**70),
    ):  # fmt: skip
        values.append(step())
        look()
    raised = [text.split(":")[0] for text in errors(lambda: g.set(None), lambda: g.set("x"), lambda: g.inc("1"))]
    return values, raised, g._value.get(), shown(p, registry)


@case
def gauge_of_the_present(p: Any) -> Any:
    import time

    registry = p.CollectorRegistry()
    g = p.Gauge("g", "x", registry=registry)
    before = time.time()
    g.set_to_current_time()
    return before <= registry.get_sample_value("g") <= time.time()


@case
def gauge_with_a_function(p: Any) -> Any:
    registry = p.CollectorRegistry()
    g, many = p.Gauge("g", "x", registry=registry), p.Gauge("l", "x", ["a"], registry=registry)
    g.set(3)
    g.set_function(lambda: 42)
    g.set(5)
    g.inc()
    many.labels("b").set_function(lambda: 1.5)
    many.labels("c").set(2)
    broken = p.CollectorRegistry()
    p.Gauge("g", "x", registry=broken).set_function(lambda: 1 / 0)
    return samples(registry), shown(p, registry), errors(lambda: samples(broken))


@case
def gauges_with_modes(p: Any) -> Any:
    found = []
    for mode in (
        "min",
        "livemin",
        "max",
        "livemax",
        "sum",
        "livesum",
        "mostrecent",
        "livemostrecent",
        "all",
        "liveall",
    ):
        registry = p.CollectorRegistry()
        g = p.Gauge("g", "x", registry=registry, multiprocess_mode=mode)
        raised = errors(lambda g=g: g.inc(), lambda g=g: g.dec(3))
        g.set(4)
        found.append((raised, registry.get_sample_value("g"), errors(lambda g=g: g.labels("x"))[0].split("(")[0][:40]))
    return found


# ---- distributions ----


@case
def histogram(p: Any) -> Any:
    registry = p.CollectorRegistry()
    h = p.Histogram("h", "x", registry=registry)
    g = p.Histogram("g", "x", ["l"], registry=registry, buckets=("1", 2.5, 5, "inf"))
    returned = [
        h.observe(value) for value in (0, 1, 5, 0.005, 0.0050001, 7.5, 100, -3, True, math.inf, Fraction(3, 10))
    ]
    for value in (1, 2.5, 2.6, 6):
        g.labels("a").observe(value)
    kinds = [text.split(":")[0] for text in errors(lambda: h.observe("1"), lambda: h.observe(None))]
    return returned, kinds, samples(registry), shown(p, registry), openmetrics(p, registry), h._sum.get()


@case
def histograms_of_odd_buckets(p: Any) -> Any:
    registry = p.CollectorRegistry()
    for number, buckets in enumerate(([1], [1, 1, 2], [-1, 0, 1], [1, math.inf, math.inf], [1e-9, 1e9], range(1, 200))):
        h = p.Histogram(f"h{number}", "x", registry=registry, buckets=buckets)
        for value in (-2, -1, 0, 0.5, 1, 1.5, 2, 3, 1e10):
            h.observe(value)
        h.observe(2, {"trace": "a"})
        h.observe(5e11, {"trace": "b"})
    return samples(registry), shown(p, registry), openmetrics(p, registry)


@case
def histogram_that_is_spoilt(p: Any) -> Any:
    registry = p.CollectorRegistry()
    h, s = p.Histogram("h", "x", ["l"], registry=registry), p.Summary("s", "x", ["l"], registry=registry)
    for metric in (h, s):
        for value in (1, math.nan, 2):
            metric.labels("nan").observe(value)
        for value in (math.inf, 1):
            metric.labels("inf").observe(value)
        for value in (math.inf, -math.inf):
            metric.labels("both").observe(value)
    return samples(registry), shown(p, registry)


@case
def summary(p: Any) -> Any:
    registry = p.CollectorRegistry()
    s = p.Summary("s", "x", ["l"], registry=registry)
    for value in (1, 2.5, -4, 0.1):
        s.labels("a").observe(value)
    s.labels("b")
    return samples(registry), shown(p, registry), openmetrics(p, registry)


# ---- decorators ----


@case
def timers(p: Any) -> Any:
    registry = p.CollectorRegistry()
    h, s, g = (kind(kind.__name__, "x", ["l"], registry=registry) for kind in (p.Histogram, p.Summary, p.Gauge))

    @h.labels("f").time()
    def f(a: int, b: int = 2, *c: int, d: int = 4) -> Any:
        "Doc."
        return a, b, c, d

    with h.labels("with").time() as timer:
        pass
    with s.labels("with").time(), g.labels("with").time():
        pass
    with h.time() as late:
        late.labels("late")
    called = f(1), f(1, 3, 5, d=6)
    counts = [registry.get_sample_value("Histogram_count", {"l": x}) for x in ("f", "with", "late")]
    bounds = 0 <= timer.duration < 5, 0 <= registry.get_sample_value("Gauge", {"l": "with"}) < 5
    return called, counts, bounds, f.__name__, f.__doc__, str(inspect.signature(f)), errors(lambda: f())


@case
def trackers(p: Any) -> Any:
    registry = p.CollectorRegistry()
    c, g = p.Counter("c", "x", registry=registry), p.Gauge("g", "x", registry=registry)
    seen = []

    def look() -> None:
        seen.append((registry.get_sample_value("c_total"), registry.get_sample_value("g")))

    @c.count_exceptions(ValueError)
    @g.track_inprogress()
    def f(error: type[Exception] | None) -> None:
        look()
        if error:
            raise error("x")

    raised = errors(lambda: f(ValueError), lambda: f(KeyError), lambda: f(None))
    with g.track_inprogress():
        look()
    for kinds in (ValueError, (KeyError, ValueError), TypeError):
        try:
            with c.count_exceptions(kinds):
                raise KeyError("y")
        except KeyError:
            look()
    return raised, seen


# ---- registries and their exposition ----


class Custom:
    def __init__(self, core: Any) -> None:
        self.core = core

    def collect(self) -> Any:
        core = self.core
        yield core.GaugeMetricFamily("custom_g", "Of mine.", value=7)
        family = core.CounterMetricFamily("custom_c", "Of mine.", labels=["l"], created=1.0)
        family.add_metric(["a"], 3, exemplar=core.Exemplar({"t": "1"}, 1.0, 2.0))
        yield family
        yield core.SummaryMetricFamily("custom_s", "x", count_value=1, sum_value=2)
        yield core.HistogramMetricFamily("custom_h", "x", buckets=[("1", 1), ("+Inf", 2)], sum_value=3)
        yield core.InfoMetricFamily("custom_i", "x", value={"a": "b"})
        yield core.StateSetMetricFamily("custom_e", "x", value={"on": True, "off": False})
        yield core.UntypedMetricFamily("custom_u", "x", value=1)
        yield core.GaugeHistogramMetricFamily("custom_gh", "x", buckets=[("1", 1), ("+Inf", 2)], gsum_value=3)


@case
def custom_collectors(p: Any) -> Any:
    core = importlib.import_module(f"{p.__name__}.core")
    registry = p.CollectorRegistry(auto_describe=True, target_info={"env": "prod"})
    p.Counter("first", "x", registry=registry).inc()
    registry.register(Custom(core))
    p.Counter("last", "x", registry=registry).inc()
    raised = errors(lambda: registry.register(Custom(core)), lambda: p.Gauge("target_info", "x", registry=registry))
    raised = [text.split("{")[0] for text in raised]
    restricted = registry.restricted_registry(["last_total", "custom_g", "target_info"])
    return (
        raised,
        samples(registry),
        shown(p, registry),
        openmetrics(p, registry),
        sorted(map(str, samples(restricted))),
    )


@case
def a_broken_collector(p: Any) -> Any:
    core = importlib.import_module(f"{p.__name__}.core")
    registry = p.CollectorRegistry()

    class Broken:
        def collect(self) -> Any:
            yield core.GaugeMetricFamily("g", "x", value="no number")

    registry.register(Broken())
    return [text[:40] for text in errors(lambda: p.generate_latest(registry))]


@case
def own_classes(p: Any) -> Any:
    registry = p.CollectorRegistry()

    class Loud(p.Counter):
        def inc(self, amount: float = 1, exemplar: Any = None) -> None:
            super().inc(amount * 2, exemplar)

    class Extra(p.Gauge):
        def collect(self) -> Any:
            for family in super().collect():
                family.documentation += " And more."
                yield family

    Loud("c", "x", ["l"], registry=registry).labels("a").inc(3)
    Extra("g", "x", registry=registry).set(1)
    return samples(registry), shown(p, registry)


@case
def created_switched_off(p: Any) -> Any:
    registry = p.CollectorRegistry()
    p.Counter("c", "x", registry=registry).inc()
    p.Histogram("h", "x", registry=registry)
    p.Summary("s", "x", registry=registry)
    with_them = shown(p, registry)
    p.disable_created_metrics()
    try:
        return with_them, shown(p, registry), openmetrics(p, registry), samples(registry)
    finally:
        p.enable_created_metrics()


@case
def info_and_enum(p: Any) -> Any:
    registry = p.CollectorRegistry()
    i = p.Info("i", "x", ["l"], registry=registry)
    e = p.Enum("e", "x", registry=registry, states=["a", "b"])
    i.labels("1").info({"k": "v"})
    before = samples(registry)
    e.state("b")
    raised = errors(
        lambda: e.state("c"), lambda: i.labels("1").info({"l": "v"}), lambda: i.labels("1").info({"k": None})
    )
    return before, samples(registry), raised, shown(p, registry), openmetrics(p, registry)


@case
def exemplars(p: Any) -> Any:
    registry = p.CollectorRegistry()
    c = p.Counter("c", "x", ["l"], registry=registry)
    h = p.Histogram("h", "x", registry=registry, buckets=[1, 2])
    c.labels("a").inc(2, {"trace_id": "abc"})
    c.labels("a").inc(exemplar={"trace_id": "def", "span": "1"})
    c.labels("b").inc(1, {})
    h.observe(0.5, {"trace_id": "x"})
    h.observe(0.7, {"trace_id": "y"})
    h.observe(9, exemplar={"trace_id": "z"})
    h.observe(1.5)
    raised = errors(
        lambda: c.labels("a").inc(1, {"a": "b" * 128}),
        lambda: h.observe(1, {"__a": "b"}),
        lambda: c.labels("c").inc(-1, {"a": "b"}),
    )
    kept = [(s.name, s.labels, s.exemplar and (s.exemplar.labels, s.exemplar.value))
            for family in registry.collect() for s in family.samples]  # fmt: skip
    return raised, kept, openmetrics(p, registry), shown(p, registry)


@case
def default_registry(p: Any) -> Any:
    p.Counter("in_the_default", "x").inc()
    text = re.sub(r"(?m)^((?:python|process)_\S+) .*$", r"\1", shown(p, p.REGISTRY))
    return p.REGISTRY.get_sample_value("in_the_default_total"), p.generate_latest() != b"", text


@case
def representations(p: Any) -> Any:
    registry = p.CollectorRegistry()
    c = p.Counter("c", "x", ["l"], registry=registry)
    texts = [str(c), repr(c), str(c.labels("a")), str(p.Gauge("g", "x", registry=registry))]
    return [re.sub(r"(shmtelemetry\.compat\.)?prometheus_client\.", "", text) for text in texts]


def get(url: str, **headers: str) -> Any:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            body, said = response.read(), dict(response.headers)
            if said.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            return response.status, said.get("Content-Type"), said.get("Content-Encoding"), undated(body.decode())
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Allow"], error.read().decode()


REQUESTS: list[tuple[str, dict[str, str]]] = [
    ("/metrics", {}),
    ("/anything", {"Accept_Encoding": "gzip"}),
    ("/metrics?name[]=c_total&name[]=nothing", {}),
    ("/favicon.ico", {}),
    ("/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"}),
    ("/metrics", {"Accept": "application/openmetrics-text"}),
    ("/metrics", {"Accept": "application/openmetrics-text; version=0.0.1, text/plain"}),
    ("/metrics", {"Accept": "text/plain; version=1.0.0; escaping=allow-utf-8"}),
    ("/metrics", {"Accept": "application/openmetrics-text;version=1.0.0;escaping=dots"}),
]  # fmt: skip


@case
def http_server(p: Any) -> Any:
    registry = p.CollectorRegistry()
    p.Counter("c", "x", registry=registry).inc()
    p.Histogram("h_x", "x", ["l"], registry=registry).labels("a").observe(1)
    server, thread = p.start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        return [get(f"http://127.0.0.1:{server.server_port}{path}", **headers) for path, headers in REQUESTS]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@case
def metrics_handler(p: Any) -> Any:
    registry = p.CollectorRegistry()
    p.Counter("c", "x", registry=registry).inc()
    server = HTTPServer(("127.0.0.1", 0), p.MetricsHandler.factory(registry))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        return [get(f"http://127.0.0.1:{server.server_port}{path}", **headers) for path, headers in REQUESTS[:5]]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@case
def wsgi(p: Any) -> Any:
    registry = p.CollectorRegistry()
    p.Counter("c", "x", registry=registry).inc()
    answers = []
    for disabled in (False, True):
        app = p.make_wsgi_app(registry, disable_compression=disabled)
        for method in ("GET", "OPTIONS", "POST"):
            said: list[Any] = []
            environ = {"REQUEST_METHOD": method, "PATH_INFO": "/", "HTTP_ACCEPT_ENCODING": "gzip"}
            body = b"".join(app(environ, lambda status, headers, said=said: said.extend((status, headers))))
            if ("Content-Encoding", "gzip") in said[1]:
                body = gzip.decompress(body)
            answers.append((said, undated(body.decode())))
    return answers


@case
def asgi(p: Any) -> Any:
    registry = p.CollectorRegistry()
    p.Counter("c", "x", registry=registry).inc()
    app = p.make_asgi_app(registry)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append({key: value for key, value in message.items() if key != "body"})

    for headers in ([], [(b"Accept", b"application/openmetrics-text"), (b"accept-encoding", b"gzip")]):
        scope = {"type": "http", "headers": headers, "query_string": b"name[]=c_total"}
        asyncio.run(app(scope, receive, send))
    return str(sent)


@case
def pushed(p: Any) -> Any:
    registry = p.CollectorRegistry()
    p.Counter("c", "x", registry=registry).inc()
    got: list[Any] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.command, self.path, self.headers["Content-Type"], undated(body.decode())[:100]))
            self.send_response(202)
            self.end_headers()

        do_POST = do_DELETE = do_PUT

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        where = f"127.0.0.1:{server.server_port}"
        p.push_to_gateway(where, "job", registry)
        p.pushadd_to_gateway(
            where, job="j/b", registry=registry, grouping_key={"a": "b", **p.instance_ip_grouping_key()}
        )
        p.pushadd_to_gateway(where, "job", None, timeout=20)
        p.delete_from_gateway(where, "job", timeout=20)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    return got


@case
def text_file(p: Any) -> Any:
    registry = p.CollectorRegistry()
    p.Counter("c", "x", registry=registry).inc()
    path = Path(sys.argv[2], f"{p.__name__}.prom")
    p.write_to_textfile(str(path), registry)
    return undated(path.read_text()), [other.name for other in path.parent.glob(f"{path.name}.*")]


@case
def what_can_be_imported(p: Any) -> Any:
    found = {}
    for name in ("core", "exposition", "metrics", "metrics_core", "registry", "parser", "samples", "asgi",
                 "multiprocess", "openmetrics.exposition", "openmetrics.parser", "gc_collector", "platform_collector",
                 "process_collector", "context_managers"):  # fmt: skip
        original = importlib.import_module(f"prometheus_client.{name}")
        names = getattr(original, "__all__", None) or [
            word for word, value in vars(original).items()
            if not word.startswith("_") and len(word) > 1 and getattr(value, "__module__", None) == original.__name__
        ]  # fmt: skip
        ours = importlib.import_module(f"{p.__name__}.{name}")
        found[name] = sorted(word for word in names if not hasattr(ours, word))
    original_names = importlib.import_module("prometheus_client").__all__
    return found, [name for name in original_names if not hasattr(p, name)], p.CONTENT_TYPE_LATEST


def plain(result: Any) -> Any:
    return json.loads(json.dumps(result, default=repr))


def main() -> None:
    p = importlib.import_module(sys.argv[1])
    outcomes = {}
    for name, function in CASES.items():
        try:
            outcomes[name] = plain(function(p))
        except Exception as error:
            outcomes[name] = f"{type(error).__name__}: {error}"
    out = io.StringIO()
    json.dump(outcomes, out)
    print(out.getvalue())


if __name__ == "__main__":
    main()
