"""Series of each producer by itself, instead of one for all: label_producer."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ..errors import StateError
from ..metric import Metric
from .figures import OWN
from .series import TWICE

if TYPE_CHECKING:
    from .state import State

PRODUCER: Final = "producer"


def by_producer(metric: Metric) -> Metric:
    """The metric with a label for the producer, the last one.

    Its own label of that name becomes exported_producer, as Prometheus does with labels that it adds to a target's:
    https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config, honor_labels.
    """
    own = PRODUCER
    while own in metric.labels:
        own = f"exported_{own}"
    labels = tuple(own if label == PRODUCER else label for label in metric.labels)
    return replace(metric, labels=(*labels, PRODUCER))


def settle(state: "State", wanted: bool | None) -> bool:
    """Whether a state's series carry their producer's name, which cannot change while there are any.

    wanted: None as the state has it. Raises StateError for what it has not.
    """
    labelled = bool(state.get("label_producer"))
    if wanted is None or wanted == labelled:
        return labelled
    if any(not metric.name.startswith(OWN) for metric in state.metrics):
        begun = "with" if labelled else "without"
        raise StateError(
            f"the state of namespace {state.namespace} was begun {begun} --label-producer: "
            "start the reader as it was, or with --reset-state to begin from zero"
        )
    state.put("label_producer", int(wanted) * TWICE)
    return wanted
