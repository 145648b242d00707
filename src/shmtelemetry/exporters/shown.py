"""What of a snapshot is exposed: metrics chosen by name, and labels that every series carries."""

import fnmatch
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ..aggregate.snapshot import Family, Labels, Snapshot
from ..metric import is_label_name
from .windows import window_names

logger = logging.getLogger("shmtelemetry")

_PATTERN: Final = re.compile(r"([a-zA-Z0-9_:*?]|\[!?[a-zA-Z0-9_:-]+\])+")


class Shown:
    """Makes of each snapshot the one that is exposed. Threads may share it.

    include, exclude: glob patterns of metric names, as fnmatch.fnmatchcase takes them, a counter's with its `_total`.
    What is excluded is not shown; of the rest, all without `include`, else what it matches. Windows are shown with
    their metric, unless their own names are excluded. const_labels: (name, value) of labels for every series; a metric
    that has one of that name keeps its own, with a line in the log. The reader's own figures are metrics like any
    others.
    Raises ValueError for what is no pattern and no label.
    """

    def __init__(
        self,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        const_labels: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._include = _compiled("include", include or ("*",))
        self._exclude = _compiled("exclude", exclude)
        self._const = _checked(const_labels)
        self._all = not (include or exclude or const_labels)
        self._extended: dict[str, tuple[Labels, Labels]] = {}  # metric name → its labels, and those with constant ones
        self._warned: set[str] = set()

    def __call__(self, snapshot: Snapshot) -> Snapshot:
        if self._all:
            return snapshot
        families = {name: family for name, family in snapshot.families.items() if self._shows(name)}
        if self._const:
            families = {name: self._labelled(family) for name, family in families.items()}
        names = (name for family in families.values() for name in window_names(family.metric))
        return replace(snapshot, families=families, withheld=frozenset(filter(self._exclude.fullmatch, names)))

    def _shows(self, name: str) -> bool:
        return bool(self._include.fullmatch(name)) and not self._exclude.fullmatch(name)

    def _labelled(self, family: Family) -> Family:
        names = tuple(name for name in self._const if name not in family.label_names)
        if len(names) < len(self._const):
            self._warn(family)
        values = tuple(self._const[name] for name in names)
        known = self._extended.get(family.metric.name)
        # An exposition is faster for labels that are the same object as the time before.
        if known is None or known[0] is not family.labels:
            known = family.labels, tuple(labels + values for labels in family.labels)
            self._extended[family.metric.name] = known
        return replace(family, label_names=family.label_names + names, labels=known[1])

    def _warn(self, family: Family) -> None:
        name = family.metric.name
        if name not in self._warned:
            self._warned.add(name)
            taken = ", ".join(sorted(self._const.keys() & set(family.label_names)))
            logger.warning(
                "%s keeps its own label %s: the constant one is not added", name, taken, extra={"metric": name}
            )


def _compiled(option: str, patterns: Iterable[str]) -> re.Pattern[str]:
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(
                f"{option} {pattern!r}: no metric name matches it; expected letters, digits, _ and :, with *, ?, [abc] "
                "or [!abc] for what may be any"
            )
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")


def _checked(const_labels: Sequence[tuple[str, str]]) -> dict[str, str]:
    for name, value in const_labels:
        if not is_label_name(name) or name == "le":
            raise ValueError(
                f"const label {name!r}: expected [a-zA-Z_][a-zA-Z0-9_]*, not beginning with __, and not le, the label "
                "of a histogram's buckets"
            )
        if sum(name == other for other, _ in const_labels) > 1:
            raise ValueError(f"const label {name!r} is given more than once: expected one value")
        if not value.isprintable():
            raise ValueError(f"const label {name!r}: expected a printable value, got {value!r}")
    return dict(const_labels)
