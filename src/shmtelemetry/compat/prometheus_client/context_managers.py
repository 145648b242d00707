"""prometheus_client's timers and trackers, which wait for what a coroutine function does and not only for the call."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from prometheus_client import context_managers

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["ExceptionCounter", "InprogressTracker", "Timer"]


def _awaited(enter: Callable[[], Any], function: F) -> F:
    """The coroutine function, which enters what `enter` gives while it is awaited."""

    @functools.wraps(function)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        with enter():
            return await function(*args, **kwargs)

    return cast(F, wrapped)


class ExceptionCounter(context_managers.ExceptionCounter):
    def __call__(self, f: F) -> F:
        return _awaited(lambda: self, f) if inspect.iscoroutinefunction(f) else super().__call__(f)


class InprogressTracker(context_managers.InprogressTracker):
    def __call__(self, f: F) -> F:
        return _awaited(lambda: self, f) if inspect.iscoroutinefunction(f) else super().__call__(f)


class Timer(context_managers.Timer):
    def __call__(self, f: F) -> F:
        return _awaited(self._new_timer, f) if inspect.iscoroutinefunction(f) else super().__call__(f)
