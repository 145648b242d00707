"""What can be generated from a catalogue, and how it comes into a folder."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from . import alertmanager, alerts, compose, grafana, handles, prometheus, rules
from .catalogue import Catalogue

Generator = Callable[[Catalogue], Mapping[str, str]]  # gives path below the folder → text

GENERATORS: Final[Mapping[str, Generator]] = {
    "prometheus": prometheus.files,
    "rules": rules.files,
    "alerts": alerts.files,
    "alertmanager": alertmanager.files,
    "grafana": grafana.files,
    "compose": compose.files,
}
BESIDE: Final[Mapping[str, Generator]] = {"handles": handles.files}  # not for a monitoring system: no part of `all`
ALL: Final = "all"
NAMES: Final = (*GENERATORS, *BESIDE, ALL)


def generated(catalogue: Catalogue, what: str) -> dict[str, str]:
    """Path below a folder → text, of one of NAMES."""
    if what != ALL:
        return dict({**GENERATORS, **BESIDE}[what](catalogue))
    return {path: text for generator in GENERATORS.values() for path, text in generator(catalogue).items()}


def write(files: Mapping[str, str], folder: Path) -> list[str]:
    """Those that are not in the folder as they should be; who reads one meanwhile sees it whole, old or new.

    Raises OSError for a folder that cannot be written.
    """
    changed = []
    for path, text in files.items():
        target = folder / path
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_name(f".{target.name}.{os.getpid()}")
            beside.write_text(text, encoding="utf-8")
            os.replace(beside, target)
            changed.append(path)
    return changed
