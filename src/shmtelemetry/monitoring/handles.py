"""The catalogue as a Python module: an instrument for each metric, ready at import, that an editor completes."""

import json
from collections.abc import Iterable, Mapping

from .catalogue import Catalogue
from .entries import Definition

_HEAD = '''"""Instruments of the catalogue, ready at import and defined at their first use.

`shmtel generate handles` has written this. Change the catalogue instead: docs/monitoring.md says how.
"""

from typing import Final

from shmtelemetry._instruments import {kinds}
from shmtelemetry.trading.ready import {makers}
'''
_WIDTH = 120


def files(catalogue: Catalogue) -> Mapping[str, str]:
    """instruments.py, with all metrics that nothing else emits. Raises ValueError if two have one name."""
    mine = [definition for definition in catalogue.definitions.values() if not definition.emitter]
    names: dict[str, str] = {}
    for definition in mine:
        if other := names.get(definition.constant):
            raise ValueError(f"{other} and {definition.name} are both {definition.constant}: give one a handle")
        names[definition.constant] = definition.name
    kinds = sorted({definition.type.capitalize() for definition in mine})
    makers = sorted({_maker(definition) for definition in mine})
    parts = [_HEAD.format(kinds=", ".join(kinds), makers=", ".join(makers))]
    for service in dict.fromkeys(definition.service for definition in mine):
        lines = "\n".join(_line(definition) for definition in mine if definition.service == service)
        parts.append(f"# ---- {catalogue.titles.get(service, service)} ----\n\n{lines}\n")
    return {"instruments.py": "\n".join(parts)}


def _maker(definition: Definition) -> str:
    return "by" if definition.labels else "one"


def _line(definition: Definition) -> str:
    """As ruff formats it."""
    head, arguments = f"{definition.constant}: Final = {_maker(definition)}(", list(_arguments(definition))
    together = ", ".join(arguments)
    if len(head) + len(together) + 1 <= _WIDTH:
        return f"{head}{together})"
    if 4 + len(together) <= _WIDTH:
        return f"{head}\n    {together}\n)"
    return "\n".join((head, *(f"    {argument}," for argument in arguments), ")"))


def _arguments(definition: Definition) -> Iterable[str]:
    if definition.labels:
        yield _text(" ".join(definition.labels))
    yield definition.type.capitalize()
    yield _text(definition.name)
    yield _text(definition.help)
    if definition.buckets is not None:
        yield f"buckets={definition.metric.buckets!r}"
    if definition.unit is not None:
        yield f"unit={_text(definition.unit)}"
    if definition.merge != "last":
        yield f"merge={_text(definition.merge)}"
    if definition.keep:
        yield "keep=True"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
