"""Grafana: dashboards, and the files by which it finds them and the servers that it asks.

https://grafana.com/docs/grafana/latest/administration/provisioning/
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataTransformerConfig,
    GridPos,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from .catalogue import Catalogue
from .dashboards import Dashboard, dashboards
from .entries import Panel, Query
from .panels import CHOICES
from .prometheus import INTERVAL, URL
from .rules import words_read
from .yaml_text import as_yaml

DASHBOARDS: Final = "/etc/grafana/dashboards"  # where Grafana has them
_TAG: Final = "shmtelemetry"
_COLUMNS: Final = 24
_LOW, _HIGH = 4, 8  # lines of panels
_SOURCE: Final = options.DataSourceRef(type_val="prometheus", uid="${datasource}")
_UNNEEDED: Final = ("Time", "Value", "__name__", "alertstate")  # columns of a table of alerts
_GREEN, _RED = "green", "red"

Builder = Any  # of one of the SDK's panels: each kind has a class of its own, and they share no base with methods


def files(catalogue: Catalogue) -> Mapping[str, str]:
    """grafana/dashboards/*.json and grafana/provisioning/*/*.yaml."""
    runbooks = _runbooks(catalogue)
    made = {
        f"dashboards/{_stem(one)}.json": _as_json(_dashboard(one, catalogue, runbooks)) for one in dashboards(catalogue)
    }
    made["provisioning/datasources/shmtelemetry.yaml"] = as_yaml(_sources(catalogue))
    made["provisioning/dashboards/shmtelemetry.yaml"] = as_yaml(_providers())
    return {f"grafana/{path}": text for path, text in made.items()}


def _as_json(built: object) -> str:
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _stem(made: Dashboard) -> str:
    return made.name.replace("_", "-")


def _runbooks(catalogue: Catalogue) -> dict[str, list[str]]:
    """Metric → the alerts that are about it."""
    found: dict[str, list[str]] = {}
    for alert in catalogue.alerts.values():
        for metric in words_read(catalogue, alert) & catalogue.definitions.keys():
            found.setdefault(metric, []).append(alert.name)
    return found


# ---- provisioning ----


def _sources(catalogue: Catalogue) -> dict[str, Any]:
    proxied = {"access": "proxy", "editable": False}
    of_prometheus = {"timeInterval": INTERVAL, "httpMethod": "POST", "prometheusType": "Prometheus"}
    told = {"implementation": "prometheus", "handleGrafanaManagedAlerts": False}
    alertmanager = f"http://{catalogue.deployment.alertmanager}"
    return {
        "apiVersion": 1,
        "datasources": [
            {"name": "Prometheus", "type": "prometheus", "uid": "prometheus", "url": URL, "isDefault": True, **proxied,
             "jsonData": of_prometheus},
            {"name": "Alertmanager", "type": "alertmanager", "uid": "alertmanager", "url": alertmanager, **proxied,
             "jsonData": told},
        ],
    }  # fmt: skip


def _providers() -> dict[str, Any]:
    provider = {
        "name": _TAG, "folder": _TAG, "type": "file", "allowUiUpdates": False, "updateIntervalSeconds": 10,
        "options": {"path": DASHBOARDS},
    }  # fmt: skip
    return {"apiVersion": 1, "providers": [provider]}


# ---- a dashboard ----


def _dashboard(made: Dashboard, catalogue: Catalogue, runbooks: Mapping[str, list[str]]) -> object:
    asked = " ".join(query.expr for row in made.rows for panel in row.panels for query in panel.queries)
    builder = (
        dashboard.Dashboard(made.title)
        .uid(f"{_TAG}-{_stem(made)}")
        .tags([_TAG])
        .readonly()
        .time("now-30m", "now")
        .timezone("browser")
        .refresh("10s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(_others())
        .variables([dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")])
    )
    for variable, label in CHOICES.items():
        if f"${variable}" in asked:
            builder.with_variable(_variable(variable, label))
    number, y = 0, 0
    for row in made.rows:
        number += 1
        builder.with_row(dashboard.Row(row.title).id(number).grid_pos(GridPos(x=0, y=y, w=_COLUMNS, h=1)))
        y += 1
        for panel, place in _placed(row.panels, y):
            number += 1
            about = [name for metric in _metrics(panel) for name in runbooks.get(metric, ())]
            links = [_runbook(catalogue, name) for name in dict.fromkeys(about)]
            builder.with_panel(_panel(panel, catalogue).id(number).grid_pos(place).links(links))
            y = max(y, place.y + place.h)
    return builder.build()


def _others() -> dashboard.DashboardLink:
    link = _link("Dashboards").type(DashboardLinkType.DASHBOARDS).tags([_TAG])
    return link.as_dropdown(True).include_vars(True).keep_time(True)


def _variable(name: str, label: str) -> dashboard.QueryVariable:
    """What is chosen of a label's values: all of them to begin with, and series without the label too."""
    of = "up" if label == "job" else f'{{{label}!="",job=~"$namespace"}}'
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(_SOURCE)
        .query(f"label_values({of}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def _placed(panels: Iterable[Panel], y: int) -> Iterator[tuple[Panel, GridPos]]:
    """From left to right, in lines; a line of numbers alone is lower."""
    for line in _in_lines(panels):
        height, x = _LOW if all(panel.kind == "number" for panel in line) else _HIGH, 0
        for panel in line:
            yield panel, GridPos(x=x, y=y, w=panel.width, h=height)
            x += panel.width
        y += height


def _in_lines(panels: Iterable[Panel]) -> list[list[Panel]]:
    lines: list[list[Panel]] = [[]]
    for panel in panels:
        if sum(one.width for one in lines[-1]) + panel.width > _COLUMNS:
            lines.append([])
        lines[-1].append(panel)
    return lines


def _metrics(panel: Panel) -> list[str]:
    """Words of its queries, the names of metrics among them."""
    return [word for query in panel.queries for word in re.findall(r"\w+", query.expr)]


def _runbook(catalogue: Catalogue, alert: str) -> dashboard.DashboardLink:
    url = catalogue.deployment.runbook(alert)
    return _link(f"Runbook: {alert}").type(DashboardLinkType.LINK).url(url).target_blank(True)


def _link(title: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).placement("")  # the SDK's own hides it in a menu


# ---- panels ----


def _panel(panel: Panel, catalogue: Catalogue) -> Builder:
    builder = {"lines": _lines, "number": _number, "heatmap": _heatmap, "alerts": _alerts}[panel.kind](panel)
    for ref_id, query in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", panel.queries, strict=False):
        builder.with_target(_target(panel.kind, query).ref_id(ref_id))
    if panel.kind == "alerts":
        url = catalogue.deployment.runbook("${__data.fields.alertname}")
        builder.data_links([_link("Runbook").url(url).target_blank(True)])
    if panel.description:
        builder.description(panel.description)
    return builder.title(panel.title).datasource(_SOURCE)


def _target(kind: str, query: Query) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
    if kind == "alerts":
        return target.instant().format(PromQueryFormat.TABLE)
    if kind == "number":
        return target.instant()
    if kind == "heatmap":
        return target.range().format(PromQueryFormat.HEATMAP)
    return target.range().exemplar(True)


def _limited(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color=_GREEN)]
    if panel.limit is not None:
        steps.append(Threshold(value=panel.limit, color=_RED))
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(panel: Panel) -> Builder:
    legend = common.VizLegendOptions().show_legend(True).placement(options.LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING)
    builder = (
        timeseries.Panel()
        .unit(panel.unit)
        .thresholds(_limited(panel))
        .legend(legend.display_mode(options.LegendDisplayMode.LIST))
        .tooltip(tooltip)
        .show_points(options.VisibilityMode.NEVER)
        .fill_opacity(8)
    )
    if panel.limit is not None:
        builder.thresholds_style(common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED))
    return builder


def _number(panel: Panel) -> Builder:
    return stat.Panel().unit(panel.unit).thresholds(_limited(panel)).graph_mode(options.BigValueGraphMode.NONE)


def _heatmap(panel: Panel) -> Builder:
    color = heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Viridis").steps(64)
    return (
        heatmap.Panel()
        .color(color.exponent(0.5))
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .cell_gap(0)
        .cell_values(heatmap.CellValues().unit("cps"))
        .tooltip(heatmap.HeatmapTooltip().mode(options.TooltipDisplayMode.SINGLE).y_histogram(True))
        .show_legend()
    )


def _alerts(panel: Panel) -> Builder:
    hidden = {"excludeByName": dict.fromkeys(_UNNEEDED, True)}
    return table.Panel().with_transformation(DataTransformerConfig(id_val="organize", options=hidden)).no_value("none")
