"""Instruments and rings that are ready at import and defined at their first use, in one telemetry of the process."""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

from .. import config
from .._instruments import Handle
from .._ring import Producer
from ..liveness import fork_lock
from ..schema import Schema
from ..telemetry import Family, Telemetry

PRODUCER: Final = "trading"

_Handle = TypeVar("_Handle", bound=Handle)
_Value = TypeVar("_Value")


class Ready:
    """Stands for what it makes at its first use, and from then on has the very methods of that.

    make: an instrument or a ring of a telemetry.
    """

    def __init__(self, name: str, make: Callable[[Telemetry], Any]) -> None:
        self._name, self._make = name, make
        _all.append(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # who looks for these, as inspect, pickle and pytest do, does not mean to use it
            raise AttributeError(name)
        found = getattr(_process.made(self), name)
        if callable(found):
            self.__dict__[name] = found  # this method is not asked for it again
        return found

    def forget(self) -> None:
        """What it was made of is over."""
        for name in self.__dict__.keys() - {"_name", "_make"}:
            del self.__dict__[name]

    def __repr__(self) -> str:
        return f"<ready {self._name}>"


class Resolved(dict[tuple[str, ...], _Value], Generic[_Value]):
    """What a helper needs for each set of label values: found at the first use of a set, one look-up after it."""

    def __init__(self, resolve: Callable[..., _Value]) -> None:
        self._resolve = resolve
        _all_resolved.append(self)

    def __missing__(self, key: tuple[str, ...]) -> _Value:
        return self.setdefault(key, self._resolve(*key))


class _Process:
    """The telemetry that everything ready here belongs to, and what was made of it."""

    def __init__(self) -> None:
        self._chosen: Telemetry | None = None
        self._own: Telemetry | None = None
        self._made: dict[Ready, Any] = {}

    def made(self, ready: Ready) -> Any:
        made = self._made.get(ready)
        if made is None:
            with fork_lock():
                made = self._made.get(ready)
                if made is None:
                    made = self._made[ready] = ready._make(self._telemetry())
        return made

    def _telemetry(self) -> Telemetry:
        if self._chosen is None and self._own is None:
            self._own = Telemetry(config.producer() or PRODUCER, config.namespace() or "default")
        return cast(Telemetry, self._chosen or self._own)

    def use(self, telemetry: Telemetry | None) -> None:
        with fork_lock():
            for made in self._made.values():
                if isinstance(made, Producer):
                    made.close()
            if self._own is not None:
                self._own.close()
            self._chosen, self._own = telemetry, None
            self._made.clear()
            for ready in _all:
                ready.forget()
            for resolved in _all_resolved:
                resolved.clear()


_all: Final[list[Ready]] = []
_all_resolved: Final[list[Resolved[Any]]] = []
_process: Final = _Process()


def use(telemetry: Telemetry | None) -> None:
    """Let all that is ready here belong to this telemetry from now on; rings get its name, a hyphen and their own.

    Best before the first use: handles and rings that were in use are over, and a telemetry of this module's own, which
    the first use opens without this call, is closed; the given one is the caller's to close. None: one of this module's
    own again, named by SHMTEL_PRODUCER, else `trading`, in the namespace SHMTEL_NAMESPACE, else `default`.
    """
    _process.use(telemetry)


def close() -> None:
    """End the rings, and the telemetry if it is this module's own. What is used again is opened again."""
    _process.use(_process._chosen)


def one(kind: type[_Handle], name: str, help: str, **options: Any) -> _Handle:
    """A ready instrument without labels. options: as Telemetry's method for this kind has them."""
    return cast(_Handle, Ready(name, lambda telemetry: _define(telemetry, kind, name, help, options)))


def by(labels: str, kind: type[_Handle], name: str, help: str, **options: Any) -> Family[_Handle]:
    """The same with labels, whose names are separated by spaces."""
    options["labels"] = tuple(labels.split())
    return cast(Family[_Handle], Ready(name, lambda telemetry: _define(telemetry, kind, name, help, options)))


def ring(suffix: str, schema: Schema, capacity: int) -> Producer:
    """A ready ring beside the telemetry's own."""
    return cast(
        Producer,
        Ready(suffix, lambda tel: Producer(f"{tel.name}-{suffix}", schema, tel.namespace, capacity)),
    )


def _define(telemetry: Telemetry, kind: type[Handle], name: str, help: str, options: dict[str, Any]) -> Any:
    return getattr(telemetry, kind.__name__.lower())(name, help, **options)
