"""Panels of the page, each with what it is for: what it asks, and when; what it says, of what."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from shmtelemetry import Producer, Telemetry
from shmtelemetry.segment import segment_names
from tests.browser import Seen, browser, opened
from tests.processes import wait_until
from tests.readers import Running
from tests.services import alerted, ask, await_value, new_namespace, service

pytestmark = [pytest.mark.peer, pytest.mark.slow]

NARROW = {"width": 400, "height": 800}
SEVERAL = 30  # updates, which come ten a second: time for a question of each kind, which come every 2 s
SHOWN = 300  # series at most


@dataclass(frozen=True)
class Shown:
    running: Running
    namespace: str
    telemetry: Telemetry

    @property
    def url(self) -> str:
        return self.running.url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    namespace = new_namespace()
    with (
        service(namespace, tmp_path_factory.mktemp("panels")) as running,
        Telemetry("bot", namespace, capacity=1024) as telemetry,
    ):
        assert telemetry.histogram("first_seconds").emit(0.01)
        await_value(running.url, "/api/metrics/series?kind=histogram&search=first", lambda told: told["total"] == 1)
        yield Shown(running, namespace, telemetry)


@pytest.fixture
def seen(chromium: Browser, shown: Shown) -> Iterator[Seen]:
    with opened(chromium, shown.url) as page:
        page.wait_live()
        yield page


def paths(page: Seen) -> Counter[str]:
    """How often each was asked for."""
    return Counter(url.split("?")[0].partition("//")[2].partition("/")[2] for url in page.requests)


# ---- what is asked, and when ----


def refused(page: Seen) -> None:
    page.page.route("**/api/metrics/series?*", lambda route: route.abort(), times=1)
    with page.page.expect_event("requestfailed"):
        pass


def failed_in_other_words(page: Seen) -> None:
    """As WebKit says it, or a browser whose connection broke within the answer."""
    page.evaluate(
        """() => {
          const real = window.fetch;
          window.fetch = (url, ...more) => {
            if (!String(url).includes("/series")) return real(url, ...more);
            window.fetch = real;
            return Promise.reject(new TypeError("Load failed"));
          };
          window.real = real;
        }"""
    )
    page.wait("() => window.fetch === window.real")


@pytest.mark.parametrize("fail", [refused, failed_in_other_words])
def test_a_panel_goes_on_after_a_question_that_failed(
    chromium: Browser, shown: Shown, fail: Callable[[Seen], None]
) -> None:
    with opened(chromium, shown.url, may_complain=True) as page:  # browsers complain of what is refused
        page.wait_live()
        fail(page)
        name = f"after_{fail.__name__}_seconds"
        assert shown.telemetry.histogram(name).emit(0.01)
        page.wait_text("#series", name)
        page.wait_text("#connection", "Live")


def test_a_mistake_in_a_panel_is_seen_and_stops_nothing(seen: Seen) -> None:
    told = seen.evaluate(
        """async () => {
          const { every } = await import("/static/asking.js");
          const seen = [];
          addEventListener("error", (event) => { event.preventDefault(); seen.push(event.error.message); });
          await new Promise((done) => {
            let times = 0;
            every(5, () => true, () => { if (++times === 3) done(); throw new TypeError("ours"); });
          });
          return seen;
        }"""
    )
    assert told[:2] == ["ours", "ours"]
    seen.page.reload()
    seen.complaints.clear()


def assert_asks_nothing(page: Seen) -> None:
    page.wait_frames(5)  # until what was asked before is answered
    before = len(page.requests)
    page.wait_frames(SEVERAL)
    assert page.requests[before:] == []


def test_while_it_is_paused_nothing_is_asked(seen: Seen) -> None:
    seen.page.keyboard.press("p")
    seen.wait_text("#connection", "Paused")
    assert_asks_nothing(seen)
    with seen.page.expect_request("**/api/metrics/history?*"):  # what was missed
        seen.page.keyboard.press("p")


def test_while_it_is_hidden_nothing_is_asked(seen: Seen) -> None:
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    seen.evaluate(hide, True)
    assert_asks_nothing(seen)
    with seen.page.expect_request("**/api/metrics/history?*"):
        seen.evaluate(hide, False)


def test_the_history_is_asked_once_and_then_no_more_often_than_it_has_a_point(chromium: Browser, shown: Shown) -> None:
    with opened(chromium, shown.url, path="/#window=21600") as page:  # of 72 seconds each
        asked: list[tuple[str, str]] = []

        def note(request: Any) -> None:
            if request.url.split("?")[0].endswith("/history"):
                body = request.post_data_json
                asked.append((body["metric"], str([body.get("labels"), body.get("figure")])))

        page.page.on("request", note)
        page.page.reload()
        page.wait_live()
        page.wait_frames(SEVERAL)
        assert ("shmtel_records_total", "[None, 'rate']") in asked
        assert {str([{}, figure]) for figure in ("p50", "p90", "p99", "max")} <= {rest for _, rest in asked}
        assert max(Counter(asked).values()) == 1


def test_of_a_panel_that_nobody_sees_nothing_is_asked(chromium: Browser, shown: Shown) -> None:
    with opened(chromium, shown.url, viewport=NARROW) as page:
        page.wait_live()
        page.wait_count("#series tbody th", 1)
        before = paths(page)
        page.wait_frames(SEVERAL)
        now = paths(page)
        assert now["api/metrics/series"] == before["api/metrics/series"]
        assert now["api/metrics/distribution"] > before["api/metrics/distribution"]
        with page.page.expect_request("**/api/metrics/series?*"):
            page["#series"].scroll_into_view_if_needed()


# ---- what is said ----


def test_the_worst_of_more_series_than_are_shown_comes_first(seen: Seen, shown: Shown) -> None:
    slow = shown.telemetry.histogram("slow_seconds", labels=("venue",))
    venues = [slow.labels(str(number)) for number in range(SHOWN + 20)]

    def comes_first() -> bool:
        for venue in venues:  # again and again, since the figures are of the last 10 s
            venue.emit(0.001)
            venue.emit(0.001)
        slow.labels("the slowest").emit(1.0)
        first = seen["#series tbody tr"].first.text_content() or ""
        return "the slowest" in first and "1.00 s" in first

    seen["#filter"].fill("slow_seconds")
    seen["#series"].get_by_role("button", name="p99", exact=True).click()
    wait_until(comes_first, "the slowest comes first")
    seen.wait_text("#series-summary", f"{SHOWN} of {SHOWN + 21} series")
    seen["#series"].get_by_role("button", name="p99", exact=True).click()
    seen.wait("() => !document.querySelector('#series tbody tr').textContent.includes('the slowest')")
    seen["#filter"].fill("")


def test_alerts_of_one_name_are_told_apart_and_only_a_runbook_that_opens_is_a_link(seen: Seen, shown: Shown) -> None:
    runbooks = {
        "A": "https://example.com/slow?venue=A",
        "B": "docs/runbooks/RecordsDropped.md",
        "C": "javascript:alert(1)",
        "D": "",
        "E": "/runbooks/RecordsDropped.md",
    }
    for venue, runbook in runbooks.items():
        alerted(shown.url, "VenueSlow", "It is slow.", runbook=runbook, venue=venue)
    seen.wait_count("#alerts li", len(runbooks))
    for venue, runbook in runbooks.items():
        item = seen["#alerts li"].filter(has_text=f"venue={venue}")
        assert item.count() == 1
        assert item.locator("a").count() == (venue in "AE")
        told = item.locator(".runbook")
        assert told.text_content() == {"A": "Runbook", "D": "", "E": "Runbook"}.get(venue, f"Runbook: {runbook}")
        assert item.get_by_role("button", name=f"Acknowledge VenueSlow venue={venue}").is_visible()
    link = seen["#alerts li"].filter(has_text="venue=A").locator("a")
    assert (link.get_attribute("href"), link.get_attribute("rel")) == (runbooks["A"], "noopener noreferrer")
    assert "severity=" not in seen["#alerts"].inner_text()


def test_an_alert_that_fires_is_in_the_health_by_name(seen: Seen, shown: Shown) -> None:
    number = alerted(shown.url, "AllIsLost", "Nothing works.", "P0")
    seen.wait_text("#tiles .tile:last-child", "P0 alert AllIsLost")
    assert seen["#tiles .tile:last-child .figure"].text_content() == "Unhealthy"
    assert ask(shown.url, f"/api/system/alerts/resolve/{number}", "POST").status == 200
    seen.wait("() => !document.querySelector('#tiles .tile:last-child').textContent.includes('AllIsLost')")


def test_health_is_the_worst_of_all_that_is_known(seen: Seen) -> None:
    told = seen.evaluate(
        """async () => {
          const { Health } = await import("/static/health.js");
          let parts = [];
          let status = "healthy";
          const health = new Health({ get: async (path) => (
            path.endsWith("/health") ? { status } : { components: parts }) });
          const told = [];
          const say = (connection, system, alerts) => {
            health.hear(system);
            health.show(connection, alerts);
            const tile = document.querySelector("#tiles .tile:last-child");
            told.push([tile.querySelector(".figure").textContent, tile.dataset.level,
              ...[...tile.querySelectorAll("li")].map((one) => one.textContent)]);
          };
          const [live, well] = [{ name: "live" }, { health: "healthy", problems: [] }];
          say(live, well, []);
          await health.refresh();
          say(live, well, []);
          say(live, well, [{ severity: "P2", name: "Small" }]);
          say(live, well, [{ severity: "P1", name: "Slow" }, { severity: "P1", name: "Slow" }]);
          say(live, { health: "degraded", problems: ["dropped"] }, [{ severity: "P0", name: "Down" }]);
          [status, parts] = ["degraded", [{ name: "reader", status: "ok" },
            { name: "execution", status: "degraded", reason: "late" }]];
          await health.refresh();
          say(live, well, []);
          [status, parts] = ["unhealthy", [{ name: "reader", status: "unavailable", reason: "there is none" }]];
          await health.refresh();
          say({ name: "stale", why: "" }, well, []);
          say({ name: "lost" }, well, []);
          document.querySelector("#tiles .tile:last-child").remove();
          return told;
        }"""
    )
    assert told == [
        ["Unknown", ""],
        ["Healthy", "good"],
        ["Healthy", "good"],
        ["Degraded", "warn", "P1 alert Slow (2)"],
        ["Unhealthy", "bad", "P0 alert Down", "dropped"],
        ["Degraded", "warn", "execution: late"],
        ["Unhealthy", "bad", "no new figures come", "reader: there is none"],
        ["Unknown", "", "the connection is lost", "reader: there is none"],
    ]


def test_what_a_flight_recorder_lost_is_in_the_lines_as_it_is_in_the_figures(seen: Seen, shown: Shown) -> None:
    records = np.zeros(64, np.dtype([("number", "<u8")]))
    with Producer("flight", records.dtype, shown.namespace, capacity=64, policy="overwrite_oldest") as ring:

        def lost() -> int:
            for _ in range(200):
                ring.emit_many(records)
            told: int = ask(shown.url, "/api/metrics/current").json["telemetry"]["lost"]
            return told

        wait_until(lost, "the reader was lapped")
    figures = """async () => {
      const { linesOf } = await import("/static/telemetry.js");
      const { Api } = await import("/static/api.js");
      const lines = linesOf(new Api(() => {}));
      await lines.load(300);
      const [, , lost, coverage] = lines.columns;
      return [lost.reduce((sum, some) => sum + some, 0), Math.min(...coverage.filter((one) => one !== null))];
    }"""

    def same() -> bool:
        told = ask(shown.url, "/api/metrics/current").json["telemetry"]["lost"]
        total, coverage = seen.evaluate(figures)
        return bool(total == pytest.approx(told) and 0 < coverage < 1)

    wait_until(same, "the history has what was lost")
    for name in segment_names(shown.namespace):
        if ".flight." in name:
            os.unlink(f"/dev/shm/{name}")


def test_every_figure_has_the_same_minus(seen: Seen) -> None:
    told = seen.evaluate(
        """async () => {
          const { count, duration, fixed, mark, percent, price, rate, short, shortly, signed, value } =
            await import("/static/format.js");
          return [
            count(-1720), duration(-0.0012).join(" "), fixed(-0.254, 2), mark(-0.001), percent(-0.5), price(-12.5),
            price(-1.5e-7), rate(-3), short(-12_345).join(" "), shortly(-0.5), signed(-3),
            value(-2, "wait_seconds", ""),
          ];
        }"""
    )
    expected = [
        "-1,720", "-1.20 ms", "-0.25", "-1 ms", "-50.0 %", "-12.50", "-1.500e-7", "-3", "-12.3 k", "-0.500", "-3.00",
        "-2.00 s",
    ]  # fmt: skip
    assert told == [one.replace("-", "\N{MINUS SIGN}", 1) for one in expected]
