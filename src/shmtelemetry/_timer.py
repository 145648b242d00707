"""Timer: how long a block, a function or a coroutine takes."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, Self, TypeVar, cast

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class _Stopwatch(Protocol):
    def start(self) -> int: ...
    def stop(self, start: int, /) -> float: ...


class Timer:
    """Times a block, or decorates a function. Each entry keeps its own start, so it may nest and recurse."""

    __slots__ = ("_histogram", "_starts")

    def __init__(self, histogram: _Stopwatch) -> None:
        self._histogram = histogram
        self._starts: list[int] = []

    def __enter__(self) -> Self:
        self._starts.append(self._histogram.start())
        return self

    def __exit__(self, *exc: object) -> None:
        self._histogram.stop(self._starts.pop())

    def __call__(self, function: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
        histogram = self._histogram

        @functools.wraps(function)
        async def timed_coroutine(*args: _Params.args, **kwargs: _Params.kwargs) -> Any:
            start = histogram.start()
            try:
                return await cast(Any, function(*args, **kwargs))
            finally:
                histogram.stop(start)

        @functools.wraps(function)
        def timed(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
            start = histogram.start()
            try:
                return function(*args, **kwargs)
            finally:
                histogram.stop(start)

        coroutine = inspect.iscoroutinefunction(function)
        return cast(Callable[_Params, _Result], timed_coroutine) if coroutine else timed
