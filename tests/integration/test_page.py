"""The page in a real browser, with a real trading system's figures from a real service."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from shmtelemetry.demo.platform import Platform, together
from tests.browser import Seen, browser, opened, screenshot
from tests.processes import wait_until
from tests.readers import Running
from tests.services import alerted, ask, await_value, new_namespace, producing, service

pytestmark = [pytest.mark.peer, pytest.mark.slow]

RUNBOOK = "https://example.com/venue-slow"
SUMMARY = "Orders to <b>venue X</b> take 60 ms."
IMAGES = Path(os.environ["SHMTEL_IMAGES"]) if "SHMTEL_IMAGES" in os.environ else None
RATE = 1_500  # market data messages a second
NARROW = {"width": 400, "height": 800}
WHOLE = {"width": 1600, "height": 2250}  # panels that are out of sight are not up to date


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demo's four processes, and a service that shows them."""
    namespace = "demo" if IMAGES else new_namespace()
    with (
        service(namespace, tmp_path_factory.mktemp("page")) as running,
        Platform(together(namespace), RATE) as platform,
    ):
        platform.start()
        platform.go()
        await_value(running.url, "/api/trades?limit=1", lambda told: told["count"] == 1)
        yield running
        platform.stop()
        platform.join()


@pytest.fixture
def seen(chromium: Browser, shown: Running) -> Iterator[Seen]:
    with opened(chromium, shown.url) as page:
        page.wait_live()
        yield page


# ---- figures ----


def test_figures_come_and_move(seen: Seen) -> None:
    seen.wait_all("#tiles .figure", "(text) => /[0-9a-z]/.test(text)")
    titles = ["Records a second", "Lag, emit to visible", "Drops a second", "Coverage", "Health"]
    assert seen["#tiles h3"].all_text_contents() == titles
    before = seen["#tiles .note"].first.text_content()
    seen.wait("(before) => document.querySelector('#tiles .note').textContent !== before", before)


def test_every_producer_has_a_row_with_the_fill_of_its_rings(seen: Seen, shown: Running) -> None:
    names = {one["name"] for one in ask(shown.url, "/api/system/stats").json["producers"]}
    seen.wait_count("#producers tbody th", len(names))
    assert names <= set(seen["#producers tbody th"].all_text_contents())
    assert seen["#producers meter"].count() == seen["#producers tbody tr"].count()
    seen.wait_all("#producers tbody tr:first-child td:nth-child(2)", "(text) => /[1-9]/.test(text)")


def test_latency_is_drawn_as_bands_and_as_a_heat_map(seen: Seen) -> None:
    seen.wait_text("#bands-legend", "p99 ")
    for chart in ("#bands", "#heat"):
        # Many shades, for there are lines, bands and cells, and not only a grid.
        seen.wait(
            """(chart) => {
              const canvas = document.querySelector(`${chart} canvas`);
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              return new Set(new Uint32Array(data.buffer)).size > 12;
            }""",
            chart,
        )
    assert re.search(r"p50 [\d.]+ \S+, p90", seen["#bands"].get_attribute("aria-label") or "")
    marks = [int(mark.replace(",", "")) for mark in seen["#heat-scale b"].all_text_contents()]
    assert marks[0] == 1
    assert marks[1] < marks[2]


def test_another_histogram_is_shown_by_its_row(seen: Seen) -> None:
    seen["#filter"].fill("market_data_lag")
    seen.wait("() => document.querySelectorAll('#series tbody tr').length === 1")
    seen["#series tbody button"].click()
    seen.wait("() => document.querySelector('#histogram').value === 'market_data_lag_seconds'")
    seen.wait("() => document.querySelector('#bands').ariaLabel.includes('market_data_lag_seconds')")
    assert "histogram=market_data_lag_seconds" in seen.page.url


def test_series_are_filtered_by_name_and_label_and_sorted_by_their_headers(seen: Seen) -> None:
    rows = seen["#series tbody tr"]
    seen["#filter"].fill("nvda")
    seen.wait_all("#series td.labels", "(text) => text.includes('NVDA')")
    assert rows.count() > 1
    header = seen.page.get_by_role("columnheader", name="Metric")
    for direction, reverse in (("ascending", False), ("descending", True)):
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == direction
        seen.wait(
            """(reverse) => {
              const names = [...document.querySelectorAll("#series tbody th")].map((one) => one.textContent);
              const sorted = reverse ? names.toSorted().toReversed() : names.toSorted();
              return names.length > 1 && names.every((name, at) => name === sorted[at]);
            }""",
            reverse,
        )
    seen["#filter"].fill("no such series")
    seen.wait_text("#series tbody", "No series is like that.")


def test_gauges_and_counters_have_tables_of_their_own(seen: Seen) -> None:
    seen.page.get_by_text("Gauges", exact=True).click()
    seen["#filter"].fill("market_data_bid_price_usd")
    seen.wait_all("#series tbody th", "(text) => text === 'market_data_bid_price_usd'")
    assert seen["#series thead th"].all_text_contents() == ["Metric", "Labels", "Value"]


# ---- trading ----


def test_trading_is_shown_as_the_service_tells_it(seen: Seen, shown: Running) -> None:
    symbols = ask(shown.url, "/api/metrics/symbols").json["symbols"]
    seen.wait_count("#symbols tbody th", len(symbols))
    assert seen["#symbols tbody th"].all_text_contents() == sorted(symbols)
    spread = seen["#symbols tbody tr"].first.locator("td").nth(4).text_content() or ""
    assert re.fullmatch(r"[\d.]+ bp", spread)
    bots = [bot["bot_id"] for bot in ask(shown.url, "/api/v1/bots/").json["bots"]]
    seen.wait_count("#bots tbody th", len(bots))
    assert seen["#bots tbody th"].all_text_contents() == bots
    seen.wait_count("#trades tbody th", 1)
    assert seen["#trades tbody td:nth-child(3)"].first.text_content() in ("▲ buy", "▼ sell")
    seen.wait("() => /^[\\d.]+ %$/.test(document.querySelector('#fills dd').textContent)")
    seen.wait("() => document.querySelector('.multiple b').textContent.endsWith('/s')")


def test_without_trading_there_is_no_section_of_it(chromium: Browser, namespace: str, tmp_path: Path) -> None:
    with (
        service(namespace, tmp_path) as running,
        producing(namespace, depth=1.0),
        opened(chromium, running.url) as page,
    ):
        page.wait_live()
        assert not page["#trading"].is_visible()
        page.wait_text("#producers", "bot")


# ---- alerts ----


def test_an_alert_is_announced_and_acknowledged(seen: Seen, shown: Running) -> None:
    alerted(shown.url, "VenueSlow", SUMMARY)
    seen.wait_text("#alerts", "VenueSlow")
    seen.wait_text("#alerts-announced", "VenueSlow")
    item = seen["#alerts li"].filter(has_text="VenueSlow")
    assert item.locator(".summary").text_content() == SUMMARY
    item.get_by_role("button").click()
    dialog = seen["#acknowledge"]
    dialog.get_by_label("Who").fill("ada")
    dialog.get_by_label("Note").fill("on it")
    dialog.get_by_role("button", name="Acknowledge").click()
    seen.wait_text("#alerts", "ada knows of it: on it")
    assert not dialog.is_visible()
    told = [one for one in ask(shown.url, "/api/system/alerts").json["alerts"] if one["name"] == "VenueSlow"]
    assert (told[0]["acknowledged"]["by"], told[0]["acknowledged"]["note"]) == ("ada", "on it")


def test_what_cannot_be_acknowledged_says_why(chromium: Browser, shown: Running) -> None:
    with opened(chromium, shown.url, may_complain=True) as page:  # for the answer is a 409
        page.wait_live()
        alerted(shown.url, "Gone", SUMMARY)
        page.wait_text("#alerts", "Gone")
        page["#alerts li"].filter(has_text="Gone").get_by_role("button").click()
        number = page["#alerts li"].filter(has_text="Gone").get_attribute("data-alert")
        assert ask(shown.url, f"/api/system/alerts/resolve/{number}", "POST").status == 200
        page["#acknowledge"].get_by_label("Who").fill("ada")
        page["#acknowledge"].get_by_role("button", name="Acknowledge").click()
        page.wait_text("#acknowledge .complaint", f"alert {number} is resolved")


# ---- how it is looked at ----


def test_paused_nothing_moves_though_updates_come(seen: Seen) -> None:
    seen.page.keyboard.press("p")
    seen.wait_text("#connection", "Paused")
    figures = seen["#tiles"].inner_text()
    seen.wait_frames(20)
    assert seen["#tiles"].inner_text() == figures
    assert seen["#pause"].get_attribute("aria-pressed") == "true"
    seen["#pause"].click()
    seen.wait("(before) => document.querySelector('#tiles').innerText !== before", figures)
    seen.wait_text("#connection", "Live")


def test_the_time_window_is_chosen_and_kept_in_the_address(seen: Seen, chromium: Browser, shown: Running) -> None:
    with seen.page.expect_request(lambda request: request.url.split("?")[0].endswith("/history")):
        seen.page.get_by_text("15 min", exact=True).click()
    assert "window=900" in seen.page.url
    seen.page.keyboard.press("1")
    assert "window=60" in seen.page.url
    with opened(chromium, shown.url, path="/#window=3600") as page:
        page.wait_live()
        assert page["#window input:checked"].get_attribute("value") == "3600"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_one_is_chosen_and_can_be_read(
    chromium: Browser, shown: Running, scheme: str
) -> None:
    with opened(chromium, shown.url, color_scheme=scheme) as page:
        page.wait_live()
        assert is_dark(page) == (scheme == "dark")
        assert_contrast(page)
        page.page.keyboard.press("t")
        assert (page["#theme .word"].text_content(), is_dark(page)) == ("Theme: light", False)
        page["#theme"].click()
        assert (page["#theme .word"].text_content(), is_dark(page)) == ("Theme: dark", True)
        page.page.reload()
        page.wait_live()
        assert is_dark(page)


def is_dark(page: Seen) -> bool:
    return luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.2


def assert_contrast(page: Seen) -> None:
    """WCAG 2.2, 1.4.3: text 4.5 to 1."""
    on = {
        name: luminance(
            page.evaluate(
                """(name) => {
                  const probe = document.body.appendChild(document.createElement("i"));
                  probe.style.color = `var(--${name})`;
                  const found = getComputedStyle(probe).color;
                  probe.remove();
                  return found;
                }""",
                name,
            )
        )
        for name in ("panel", "ground", "raised", "ink", "quiet", "accent", "good", "warn", "bad")
    }
    for text in ("ink", "quiet", "accent", "good", "warn", "bad"):
        for ground in ("panel", "ground", "raised"):
            low, high = sorted((on[text], on[ground]))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def luminance(colour: str) -> float:
    """Relative luminance of rgb(…), WCAG 2.2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_on_a_phone_no_table_is_wider_than_its_panel_and_nothing_wider_than_the_screen(
    chromium: Browser, shown: Running
) -> None:
    with opened(chromium, shown.url, viewport=NARROW) as page:
        page.wait_live()
        page.wait_count("#trades tbody th", 4)
        page.wait_count("#series tbody th", 4)
        page.wait_count("#producers tbody th", 4)
        page["#trades"].scroll_into_view_if_needed()
        page.wait_count("#positions tbody th", 2)
        page.wait_count("#bots tbody th", 4)
        tables = page.evaluate(
            """[...document.querySelectorAll("table")].map(
              (one) => [one.id, one.scrollWidth, one.parentNode.clientWidth])"""
        )
        assert {name for name, *_ in tables} == {"producers", "series", "symbols", "bots", "positions", "trades"}
        assert all(wide <= room <= NARROW["width"] for _, wide, room in tables), tables
        assert page["#producers"].get_by_role("columnheader", name="Lost").is_visible()
        assert page["#histogram-name"].text_content() == page["#histogram"].input_value()
        assert page["#histogram-name"].is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


def test_keys_are_told_and_can_be_turned_off(seen: Seen) -> None:
    keyboard = seen.page.keyboard
    keyboard.press("?")
    help = seen["#help"]
    assert help.is_visible()
    assert {"P", "T", "?", "/", "A", "1"} <= set(help.locator("kbd").all_text_contents())
    help.get_by_label("Single keys act").uncheck()
    keyboard.press("Escape")
    assert not help.is_visible()
    keyboard.press("p")
    assert seen["#pause"].get_attribute("aria-pressed") == "false"
    keyboard.press("?")
    help.get_by_label("Single keys act").check()
    keyboard.press("Escape")
    keyboard.press("/")
    assert seen.evaluate("document.activeElement.id") == "filter"
    keyboard.type("p")
    assert seen["#pause"].get_attribute("aria-pressed") == "false"


def test_a_screen_reader_finds_its_way(seen: Seen) -> None:
    for landmark in ("banner", "main", "contentinfo"):
        assert seen.page.get_by_role(landmark).count() == 1
    for name in ("Latency", "Producers", "Alerts", "Series", "Symbols", "Order flow", "Recent trades"):
        assert seen.page.get_by_role("region", name=name).first.is_visible()
    tables = seen["table"]
    assert tables.count() == seen["table > caption"].count() >= 6
    assert seen["thead th:not([scope=col])"].count() == seen["tbody th:not([scope=row])"].count() == 0
    assert seen["#connection"].get_attribute("role") == "status"
    charts, named = seen[".chart"], seen[".chart[role=img][aria-label]"]
    wait_until(lambda: charts.count() == named.count() > 0, "every chart is drawn, and named")
    unnamed = """[...document.querySelectorAll("button, input, select, meter")].filter(
      (one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel)).map((one) => one.outerHTML)"""
    assert seen.evaluate(unnamed) == []


# ---- when it is interrupted ----


def test_it_comes_back_after_the_service_was_killed_and_says_so(
    chromium: Browser, namespace: str, tmp_path: Path
) -> None:
    with (
        producing(namespace, depth=1.0),
        service(namespace, tmp_path) as first,
        opened(chromium, first.url, may_complain=True) as page,  # browsers complain of connections that are refused
    ):
        page.wait_live()
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        page.wait_text("#connection", "Connection lost, reconnecting")
        page.wait_text("#tiles", "Unknown")
        page.wait_text("#tiles", "the connection is lost")
        assert page["#connection"].get_attribute("data-state") == "lost"
        with service(namespace, tmp_path, "--listen", first.url.removeprefix("http://")):
            page.wait_text("#connection", "Live, again after")
            page.wait_text("#about", "1 interruption")
            page.wait_text("#about", "updates missed")
            before = page["#tiles .note"].first.text_content()
            page.wait("(before) => document.querySelector('#tiles .note').textContent !== before", before)


def test_updates_that_a_slow_browser_lost_are_told(seen: Seen) -> None:
    """As the service does when its queue for a client was full: `previous` is newer than what the client has."""
    told = seen.evaluate(
        """async () => {
          const { Connection } = await import("/static/connection.js");
          const states = [];
          const sockets = [];
          window.WebSocket = class { constructor() { sockets.push(this); } close() {} };
          new Connection({ updates: "" }, () => {}, (state) => states.push(state)).open();
          const say = (sequence, previous) => sockets[0].onmessage(
            { data: JSON.stringify({ type: "metrics_update", sequence, previous }) });
          say(10, 9); say(11, 10); say(15, 14);
          return states.at(-1).missed;
        }"""
    )
    assert told == 3


# ---- who may look ----


def test_a_token_is_asked_for_by_a_form_and_asked_for_again_when_the_session_is_over(
    chromium: Browser, namespace: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("x7Dk-2_9\n")
    with (
        service(namespace, tmp_path, "--token-file", str(token)) as running,
        opened(chromium, running.url, may_complain=True) as page,  # answers are 401 on purpose
    ):
        assert "/login?next=/" in page.page.url
        page.page.get_by_label("Token").fill("wrong")
        page.page.get_by_role("button", name="Log in").click()
        assert page.page.get_by_role("alert").text_content() == "The token is wrong."
        page.page.get_by_label("Token").fill("x7Dk-2_9")
        page.page.get_by_role("button", name="Log in").click()
        page.wait_text("#connection", "Live")
        page.page.context.clear_cookies()
        page.wait_text("#connection", "The session is over")
        page.page.get_by_role("link", name="Log in").click()
        page.page.get_by_label("Token").fill("x7Dk-2_9")
        page.page.get_by_role("button", name="Log in").click()
        page.wait_text("#connection", "Live")
        page["#logout button"].click()
        assert page.page.url.endswith("/login")


def test_only_who_asks_for_a_page_gets_one(shown: Running) -> None:
    for accept in ("*/*", "application/json"):
        told = ask(shown.url, "/", Accept=accept)
        assert (told.json["service"], told.headers["Vary"]) == ("shmtelemetry", "Accept")
    page = ask(shown.url, "/", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


# ---- pictures ----


@pytest.mark.stress
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {"color_scheme": "light", "viewport": WHOLE}),
        ("dark", {"color_scheme": "dark", "viewport": WHOLE}),
        ("narrow", {"color_scheme": "light", "viewport": {"width": 400, "height": 1500}}),
    ],
)
def test_pictures_are_taken(
    chromium: Browser, shown: Running, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    """With SHMTEL_IMAGES=FOLDER they are those of the documentation, which take a minute of figures first."""
    with opened(chromium, shown.url, path="/#window=60", **options) as page:
        page.wait_live()
        alerted(shown.url, "VenueSlow", "Orders to venue X take 60 ms.", runbook=RUNBOOK, venue="X")
        alerted(shown.url, "PriceStale", "TSLA had no tick for 5 s.", "P2", symbol="TSLA")
        page.wait_count("#alerts .runbook a", 1)
        if IMAGES is not None:
            page.wait(
                "() => { const { textContent } = document.querySelector('#heat-caption');"
                " return !textContent && !document.querySelector('#heat-scale').hidden; }"
            )
        page.wait_count("#trades tbody th", 4)
        page.wait_frames(30)
        file = (IMAGES or tmp_path) / f"page-{name}.png"
        screenshot(page, file, whole=name != "narrow")
        assert file.stat().st_size > 20_000
