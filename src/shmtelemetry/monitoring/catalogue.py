"""The catalogue: every metric with what it is for, and the rules, alerts and objectives over them.

It is read from TOML files, whose form docs/monitoring.md has. Nothing of a file is used before all of it is checked.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import msgspec

from .entries import Alert, Definition, Deployment, Job, Objective, Recording, Row

_KINDS: Final[Mapping[str, type[Any]]] = {
    "metric": Definition, "record": Recording, "alert": Alert, "slo": Objective, "row": Row, "job": Job,
}  # fmt: skip
_DEFAULTS: Final[Mapping[str, Mapping[str, str]]] = {  # of a table's key → that of the file which it is by default
    "metric": {"service": "service", "emitter": "emitter"}, "record": {"service": "service"},
    "slo": {"service": "service"}, "row": {"dashboard": "service"},
}  # fmt: skip
_TEXTS: Final = ("service", "title", "emitter")  # of a whole file

# The files of the package, in the order of the data's way; the last two come along with any other catalogue.
_PLATFORM: Final = (
    "market_data", "signal_bridge", "risk_manager", "execution_engine", "platform", "bots", "telemetry", "http",
    "sidecar", "alerts", "slos",
)  # fmt: skip
_ALWAYS: Final = "own", "deployment"

_Entry = TypeVar("_Entry")


@dataclass(frozen=True)
class Catalogue:
    """All of it, by name, in the order of the files. titles: of the services."""

    deployment: Deployment
    titles: Mapping[str, str] = field(default_factory=dict)
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    recordings: Mapping[str, Recording] = field(default_factory=dict)
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    objectives: Mapping[str, Objective] = field(default_factory=dict)
    rows: Mapping[str, Row] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)

    @classmethod
    def packaged(cls) -> Self:
        """Of the trading platform, its bots, and the telemetry itself."""
        return cls._of(_packaged(stem) for stem in _PLATFORM)

    @classmethod
    def load(cls, files: Iterable[Traversable]) -> Self:
        """Of these files, and of the telemetry itself.

        Jobs, and what is said of the deployment, come instead of the package's. Raises ValueError that names the file,
        the entry and the key.
        """
        return cls._of(files)

    def with_live(self, namespace: str, definitions: Iterable[Definition]) -> Self:
        """With the metrics of running producers that this one does not have, and that namespace as what is scraped.

        Unless there are jobs other than the package's: a reader does not tell where it listens, so it is the service,
        or a reader at the same address.
        """
        more = {one.name: one for one in definitions if one.name not in self.definitions}
        job = Job(name=re.sub("[^a-zA-Z0-9_-]", "-", namespace), targets=(urlsplit(self.deployment.service).netloc,))
        return replace(
            self,
            titles={"live": namespace, **self.packaged().titles, **self.titles},
            definitions={**more, **self.definitions},
            deployment=msgspec.structs.replace(self.deployment, namespace=namespace),
            jobs={job.name: job} if self.jobs == self.load(()).jobs else self.jobs,
        )

    @classmethod
    def _of(cls, files: Iterable[Traversable]) -> Self:
        titles: dict[str, str] = {}
        found: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
        deployment: dict[str, Any] = {}
        own, where = map(_packaged, _ALWAYS)
        for file in (*files, own, where):
            document = _read(file)
            if service := document.get("service"):
                titles[service] = document.get("title", service)
            deployment = {**document.get("deployment", {}), **deployment}
            if file is where and found["job"]:
                del document["job"]
            for kind, form in _KINDS.items():
                for entry in _entries(file.name, document, kind, form):
                    if entry.name in found[kind]:
                        raise ValueError(f"{file.name}: {entry.name}: {kind}: there are two of that name")
                    found[kind][entry.name] = entry
        made = cls(_converted("deployment", deployment, Deployment), titles, *(found[kind] for kind in _KINDS))
        _check_objectives(made)
        return made


def _packaged(stem: str) -> Traversable:
    return resources.files(__package__).joinpath("catalog", f"{stem}.toml")


def _read(file: Traversable) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise ValueError(f"{file.name} is no TOML: {error}") from error
    unknown = document.keys() - {*_TEXTS, *_KINDS, "deployment"}
    if unknown:
        raise ValueError(f"{file.name}: unknown key {min(unknown)!r}")
    for key in _TEXTS:
        if not isinstance(document.get(key, ""), str):
            raise ValueError(f"{file.name}: {key} {document[key]!r}: expected a text")
    if not isinstance(document.get("deployment", {}), dict):
        raise ValueError(f"{file.name}: expected deployment to be a [deployment] table")
    return document


def _entries(file: str, document: Mapping[str, Any], kind: str, form: type[_Entry]) -> Iterable[_Entry]:
    tables = document.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"{file}: expected {kind} to be [[{kind}]] tables")
    defaults = {key: document[text] for key, text in _DEFAULTS.get(kind, {}).items() if text in document}
    for number, table in enumerate(tables, 1):
        yield _converted(f"{file}: {table.get('name', number)}: {kind}", {**defaults, **table}, form)


def _converted(place: str, table: Mapping[str, Any], form: type[_Entry]) -> _Entry:
    try:
        return msgspec.convert(table, form)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at ")
        where = ": ".join(filter(None, (place, path.strip("`").removeprefix("$").removeprefix("."))))
        raise ValueError(f"{where}: {problem}") from error


def _check_objectives(catalogue: Catalogue) -> None:
    """Their metrics are histograms with a bucket that ends where good ends."""
    for slo in catalogue.objectives.values():
        if slo.metric:
            definition = catalogue.definitions.get(slo.metric)
            if definition is None or definition.type != "histogram":
                raise ValueError(f"slo {slo.name}: {slo.metric} is no histogram of the catalogue")
            if slo.at_most not in definition.metric.buckets:
                raise ValueError(f"slo {slo.name}: at_most {slo.at_most}: expected a bound of {slo.metric}'s buckets")
