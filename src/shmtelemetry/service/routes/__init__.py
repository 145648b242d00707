"""The REST interface, a file a group."""

from . import alerts, bots, health, history, metrics, pages, runbooks, series, system, telemetry, trades, updates

GROUPS = tuple(
    module.router
    for module in (pages, telemetry, metrics, series, history, trades, bots, system, alerts, runbooks, health, updates)
)
