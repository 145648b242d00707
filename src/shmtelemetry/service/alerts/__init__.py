"""Alerts: rules over a snapshot's windows, and the list of what they found and what an Alertmanager sent."""

from .alert import Alert
from .evaluator import Evaluator
from .rules import Rule, Rules
from .store import AlertStore
from .watch import AlertWatch

__all__ = ["Alert", "AlertStore", "AlertWatch", "Evaluator", "Rule", "Rules"]
