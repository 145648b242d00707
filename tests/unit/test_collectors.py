"""Collectors: the base class, how a group asks them, and what the package's own make of a snapshot."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.service.collectors import (
    Answer,
    BaseCollector,
    Collectors,
    base,
    register,
    standard,
)
from tests.processes import PATIENCE

LIMIT = 0.2  # seconds; whoever is well may miss it on a busy machine, and is asked again


class Steady(BaseCollector):
    """Says how often it was asked."""

    def __init__(self, name: str = "steady") -> None:
        super().__init__(name)
        self.heard: list[str] = []
        self.asked = 0

    async def _start_impl(self) -> None:
        self.heard.append("start")

    async def _stop_impl(self) -> None:
        self.heard.append("stop")

    async def get_current_metrics(self) -> dict[str, Any]:
        self.asked += 1
        return {"asked": self.asked}


class Saying(BaseCollector):
    """Does whatever a test wants."""

    def __init__(self, name: str, say: Callable[[], Any]) -> None:
        super().__init__(name)
        self.say = say

    async def get_current_metrics(self) -> dict[str, Any]:
        said = self.say()
        return await said if asyncio.iscoroutine(said) else said  # type: ignore[no-any-return]


@asynccontextmanager
async def group(*collectors: BaseCollector, **settings: Any) -> AsyncIterator[Collectors]:
    made = Collectors(collectors, **{"limit": LIMIT, **settings})
    try:
        yield made
    finally:
        await made.stop()


async def collect_until(of: Collectors, condition: Callable[[dict[str, Answer]], bool]) -> dict[str, Answer]:
    """Asks again and again until the answers are as they should be."""
    deadline = time.monotonic() + PATIENCE
    while not condition(answers := await of.collect()):
        assert time.monotonic() < deadline, answers
        await asyncio.sleep(0.001)
    return answers


def statuses(answers: Mapping[str, Answer]) -> dict[str, str]:
    return {name: answer.status for name, answer in answers.items()}


# ---- the base class ----


def test_a_collector_starts_once_and_stops_once() -> None:
    async def live() -> Steady:
        collector = Steady()
        assert not collector.running
        await collector.start()
        await collector.start()
        assert collector.running
        await collector.stop()
        await collector.stop()
        assert not collector.running
        await collector.start()
        return collector

    assert asyncio.run(live()).heard == ["start", "stop", "start"]


def test_a_collector_needs_no_hooks_but_must_say_something() -> None:
    class Mute(BaseCollector):
        pass

    with pytest.raises(TypeError, match="get_current_metrics"):
        Mute("mute")  # type: ignore[abstract]


@pytest.mark.parametrize("name", ["", "two words", "ümlaut", "x" * 65, 7])
def test_a_name_that_no_json_key_should_have_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="name of a collector"):
        Steady(name)


# ---- how a group asks ----


def test_a_group_starts_each_collector_and_gives_what_it_says() -> None:
    steady = Steady()

    async def live() -> None:
        async with group(steady) as collectors:
            answers = await collect_until(collectors, lambda answers: not answers["steady"].error)
            answer = answers["steady"]
            assert answer.metrics == {"asked": steady.asked}
            assert answer.age is not None
            assert answer.age >= 0.0

    asyncio.run(live())
    assert steady.heard == ["start", "stop"]


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: [1, 2], "expected a dict, got list"),
        (lambda: {"figures": {1, 2}}, "what JSON has no word for"),
        (lambda: {"figure": float("nan")}, "what JSON has no word for"),
    ],
)
def test_one_that_fails_is_degraded_says_why_and_leaves_the_others_alone(say: Callable[[], Any], why: str) -> None:
    async def live() -> None:
        async with group(Saying("bad", say), Steady()) as collectors:
            wanted = {"bad": "degraded", "steady": "healthy"}
            answers = await collect_until(
                collectors, lambda answers: statuses(answers) == wanted and why in answers["bad"].error
            )
            assert (answers["bad"].metrics, answers["bad"].age) == ({}, None)

    asyncio.run(live())


def hang_awaiting() -> Any:
    return asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["awaits for ever", "blocks its thread"])
def test_one_that_hangs_is_degraded_and_never_stalls_the_others(kind: str) -> None:
    release = threading.Event()

    async def live() -> None:
        hang = hang_awaiting if kind == "awaits for ever" else release.wait
        async with group(Saying("hanging", hang), Steady()) as collectors:
            wanted = {"hanging": "degraded", "steady": "healthy"}
            answers = await collect_until(
                collectors, lambda answers: statuses(answers) == wanted and "within" in answers["hanging"].error
            )
            for asking in (collectors, *collectors._asked.values()):
                asking._limit = 10 * PATIENCE  # whoever still waited for it would wait in vain
            turns = answers["steady"].metrics["asked"] + 50
            more = collect_until(collectors, lambda answers: answers["steady"].metrics["asked"] >= turns)
            await asyncio.wait_for(more, PATIENCE)
            release.set()

    asyncio.run(live())


def test_the_last_good_answer_is_kept_with_its_age_and_a_new_one_replaces_it() -> None:
    sayings: dict[str, Callable[[], Any]] = {"now": lambda: {"price": 1.0}}

    async def live() -> None:
        async with group(Saying("moody", lambda: sayings["now"]())) as collectors:
            first = (await collect_until(collectors, lambda answers: bool(answers["moody"].metrics)))["moody"]
            sayings["now"] = lambda: 1 / 0
            kept = (await collect_until(collectors, lambda answers: bool(answers["moody"].error)))["moody"]
            later = (await collect_until(collectors, lambda answers: answers["moody"].age > kept.age))["moody"]
            assert first.metrics == kept.metrics == later.metrics == {"price": 1.0}
            sayings["now"] = lambda: {"price": 2.0}
            again = (await collect_until(collectors, lambda answers: not answers["moody"].error))["moody"]
            assert again.metrics == {"price": 2.0}
            assert again.status == "healthy"

    asyncio.run(live())


def test_one_that_hung_and_answers_again_is_healthy_again() -> None:
    release = threading.Event()

    async def live() -> None:
        async with group(Saying("slow", lambda: release.wait() and {"at": "last"})) as collectors:
            await collect_until(collectors, lambda answers: "within" in answers["slow"].error)
            release.set()
            answers = await collect_until(collectors, lambda answers: not answers["slow"].error)
            assert answers["slow"].metrics == {"at": "last"}

    asyncio.run(live())


def test_one_that_cannot_start_is_degraded_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shmtelemetry.service.collectors.group.RETRY", 0.1)

    class Reluctant(Steady):
        async def _start_impl(self) -> None:
            await super()._start_impl()
            if len(self.heard) < 3:
                raise ConnectionError("nobody there")

    async def live() -> None:
        async with group(reluctant := Reluctant()) as collectors:
            await collect_until(collectors, lambda answers: "nobody there" in answers["steady"].error)
            await collect_until(collectors, lambda answers: not answers["steady"].error)
        assert reluctant.heard == ["start", "start", "start", "stop"]

    asyncio.run(live())


def test_an_answer_is_a_copy_that_its_collector_cannot_change() -> None:
    shared = {"figures": [1]}

    async def live() -> None:
        async with group(Saying("sharing", lambda: shared)) as collectors:
            answers = await collect_until(collectors, lambda answers: bool(answers["sharing"].metrics))
            shared["figures"].append(2)
            assert answers["sharing"].metrics == {"figures": [1]}

    asyncio.run(live())


def test_what_was_collected_is_counted_by_collector_and_figure() -> None:
    counted: list[tuple[str, int]] = []

    async def live() -> None:
        saying = Saying("prices", lambda: {"AAPL": {"bid": 1.0, "ask": 2.0}, "symbols": ["AAPL"], "n": None})
        async with group(saying, counted=lambda name, figures: counted.append((name, figures))) as collectors:
            await collect_until(collectors, lambda answers: bool(answers["prices"].metrics))

    asyncio.run(live())
    assert set(counted) == {("prices", 4)}


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two collectors are called 'steady'"):
        Collectors([Steady(), Steady()])


def test_nothing_of_a_group_is_left_when_it_has_stopped() -> None:
    before = set(threading.enumerate())

    async def live() -> None:
        async with group(Steady("a"), Steady("b"), Saying("hanging", hang_awaiting)) as collectors:
            await collect_until(collectors, lambda answers: answers["a"].status == answers["b"].status == "healthy")

    asyncio.run(live())
    assert set(threading.enumerate()) == before


# ---- a user's own ----


def no_state(namespace: str) -> Snapshot:
    raise AssertionError(f"nobody looks at {namespace}")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_registered", {})


@pytest.mark.usefixtures("registry")
def test_a_registered_collector_is_asked_beside_the_packages_own(namespace: str) -> None:
    mine = Steady("mine")
    register(mine)
    names = [collector.name for collector in standard(lambda: no_state(namespace))]
    assert names == ["market_data", "strategy", "execution", "system", "mine"]
    assert standard(lambda: no_state(namespace))[-1] is mine


@pytest.mark.usefixtures("registry")
def test_a_name_can_be_registered_once_and_not_that_of_the_packages_own() -> None:
    register(Steady("mine"))
    with pytest.raises(ValueError, match=r"'mine'.*taken"):
        register(Steady("mine"))
    with pytest.raises(ValueError, match=r"'system'.*taken"):
        register(Steady("system"))
    with pytest.raises(TypeError, match=r"register\(Steady\(…\)\)"):
        register(Steady)  # type: ignore[arg-type]
