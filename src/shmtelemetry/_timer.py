"""Functions and coroutine functions that are timed; in Python, so that both stay what they are to `inspect`."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class _Stopwatch(Protocol):
    def start(self) -> int: ...
    def stop(self, start: int, /) -> float: ...


def timed(histogram: _Stopwatch, function: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
    """The function, each of whose calls is observed; a coroutine's until it has been awaited."""

    @functools.wraps(function)
    async def awaited(*args: _Params.args, **kwargs: _Params.kwargs) -> Any:
        start = histogram.start()
        try:
            return await cast(Any, function(*args, **kwargs))
        finally:
            histogram.stop(start)

    @functools.wraps(function)
    def called(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        start = histogram.start()
        try:
            return function(*args, **kwargs)
        finally:
            histogram.stop(start)

    coroutine = inspect.iscoroutinefunction(function)
    return cast(Callable[_Params, _Result], awaited) if coroutine else called
