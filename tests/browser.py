"""A real browser, and the promise that what it shows stays on this host and breaks no rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.peers import need
from tests.processes import PATIENCE, wait_until

NOTE_VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass
class Seen:
    """A page, and what it did. frames: messages of its WebSockets so far."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    frames: int = 0

    def __getitem__(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def wait(self, condition: str, argument: Any = None) -> None:
        """Until an expression, or a function of the argument, holds in the page."""
        self.page.wait_for_function(condition, arg=argument, timeout=PATIENCE * 1000)

    def wait_all(self, selector: str, condition: str) -> None:
        """Until there are some elements, and a function of the text holds for the text of all of them."""
        self.wait(
            f"""(selector) => {{
              const found = [...document.querySelectorAll(selector)];
              return found.length && found.map((one) => one.textContent).every({condition});
            }}""",
            selector,
        )

    def wait_count(self, selector: str, least: int) -> None:
        self.wait("([selector, least]) => document.querySelectorAll(selector).length >= least", [selector, least])

    def wait_text(self, selector: str, part: str) -> None:
        self.wait("([selector, part]) => document.querySelector(selector).textContent.includes(part)", [selector, part])

    def wait_frames(self, more: int) -> None:
        """Until so many more messages have come."""
        wanted = self.frames + more
        wait_until(lambda: self.page.wait_for_timeout(20) or self.frames >= wanted, "messages have come")

    def wait_live(self) -> None:
        """Until figures have come and are shown."""
        self.wait_text("#connection", "Live")
        self.wait_text("#tiles", "in all")

    def evaluate(self, expression: str, argument: Any = None) -> Any:
        return self.page.evaluate(expression, argument)


@contextmanager
def browser() -> Iterator[Browser]:
    """Debian's chromium; the test is skipped without it."""
    path = need("chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield made
        finally:
            made.close()


@contextmanager
def opened(
    browser: Browser, url: str, *, may_complain: bool = False, path: str = "/", **options: Any
) -> Iterator[Seen]:
    """A page in a context of its own. At its end nothing but this host was asked, no policy was violated, and, unless
    it may, nothing was complained of in the console."""
    context = browser.new_context(**{"viewport": {"width": 1600, "height": 1000}, **options})
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    seen = Seen(page)
    page.add_init_script(NOTE_VIOLATIONS)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("console", lambda said: seen.complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.complaints.append(f"uncaught: {error}"))

    def count(_: Any) -> None:
        seen.frames += 1

    def follow(websocket: Any) -> None:
        seen.requests.append(websocket.url)
        websocket.on("framereceived", count)

    page.on("websocket", follow)
    try:
        page.goto(url + path)
        yield seen
        assert page.evaluate("window.violations") == []
        assert {urlsplit(one).netloc for one in seen.requests} == {urlsplit(url).netloc}
        complaints = [one for one in seen.complaints if not may_complain or one.startswith("uncaught")]
        assert not complaints, complaints
    finally:
        context.close()


def screenshot(seen: Seen, file: Path, whole: bool = False) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    seen.page.screenshot(path=file, full_page=whole)
