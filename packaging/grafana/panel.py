"""What dashboards are made of: panels with queries, laid out in rows, as Grafana's JSON has them.

    Row("Requests", time_series("Requests per second", "reqps", ["sum by (model) (rate(…))", "{{model}}"], about="…"))

A panel takes a third, a half or a whole of the width; where it goes is worked out here.
"""

import re
from collections.abc import Iterable
from typing import Any

Panel = dict[str, Any]
Query = tuple[str, str]
"""An expression of Prometheus, and the name of what it returns."""

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WHOLE, HALF, THIRD, QUARTER, EIGHTH = 24, 12, 8, 6, 3

RUNBOOK = "file:///usr/share/doc/cortex/operations/runbook.md"
"""Where the package puts it; a dashboard has a field for another place."""


def time_series(
    title: str,
    unit: str,
    *queries: Query,
    about: str,
    width: int = THIRD,
    stacked: bool = False,
    most: float | None = None,
) -> Panel:
    """Lines over time. ``unit``: as Grafana names it; ``most``: the upper end of the axis, where there is one."""
    custom: dict[str, Any] = {"fillOpacity": 10, "showPoints": "never", "spanNulls": False}
    if stacked:
        custom |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
    defaults: dict[str, Any] = {"unit": unit, "min": 0, "custom": custom}
    if most is not None:
        defaults["max"] = most
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max", "lastNotNull"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, queries, about, width, 8, defaults, options)


def figure(title: str, unit: str, query: str, *, about: str, bad: str = "", width: int = EIGHTH) -> Panel:
    """One number. ``bad``: ``">N"`` or ``"<N"`` is shown in red."""
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if bad.startswith(">"):
        steps.append({"color": "red", "value": float(bad[1:])})
    elif bad:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": float(bad[1:])}]
    defaults = {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}}
    options = {
        "colorMode": "value",
        "graphMode": "area",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return _panel("stat", title, [(query, "")], about, width, 4, defaults, options)


def states(title: str, *queries: Query, about: str, words: dict[str, tuple[str, str]], width: int = HALF) -> Panel:
    """What something was, over time. ``words``: for each value what it is called, and its colour."""
    mapped = {value: {"text": text, "color": color} for value, (text, color) in words.items()}
    defaults = {"custom": {"fillOpacity": 70, "lineWidth": 0}, "mappings": [{"type": "value", "options": mapped}]}
    options = {"mergeValues": True, "showValue": "auto", "rowHeight": 0.8}
    return _panel("state-timeline", title, queries, about, width, 8, defaults, options)


def table(title: str, unit: str, query: str, *, about: str, width: int = HALF) -> Panel:
    """A row per series as it is now, its labels as columns."""
    hidden = {"Time": True, "__name__": True, "job": True}
    panel = _panel("table", title, [(query, "")], about, width, 8, {"unit": unit}, {"showHeader": True})
    panel["targets"][0] |= {"format": "table", "instant": True}
    panel["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return panel


def heat(title: str, unit: str, query: str, *, about: str, width: int = HALF) -> Panel:
    """How often which bucket of a histogram was met, over time."""
    options = {
        "calculate": False,
        "yAxis": {"unit": unit},
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
        "cellGap": 1,
    }
    panel = _panel("heatmap", title, [(query, "{{le}}")], about, width, 8, {}, options)
    panel["targets"][0]["format"] = "heatmap"
    return panel


def row(title: str, *panels: Panel) -> list[Panel]:
    """A heading, and what is under it."""
    return [{"type": "row", "title": title, "collapsed": False, "panels": []}, *panels]


def dashboard(
    uid: str, title: str, about: str, variables: Iterable[str], rows: Iterable[list[Panel]]
) -> dict[str, Any]:
    """Return a dashboard; ``variables``: of ``VARIABLES``, in this order."""
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["cortex"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_firing()]},
        "links": [_others(), _runbook()],
        "templating": {"list": [_source(), *(_variable(name) for name in variables), _place_of_runbook()]},
        "panels": _laid_out(rows),
    }


VARIABLES = {
    "gateway": ("Gateway", "label_values(cortex_gateway_info, instance)"),
    "model": ("Model", "label_values(cortex_model_ready_replicas, model)"),
    "node": ("Node", "label_values(cortex_node_healthy, node)"),
    "key": ("Key", "label_values(cortex_key_requests_total, key)"),
}


def _panel(
    kind: str,
    title: str,
    queries: Iterable[Query],
    about: str,
    width: int,
    height: int,
    defaults: dict[str, Any],
    options: dict[str, Any],
) -> Panel:
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": SOURCE,
            "expr": query,
            "legendFormat": name,
            "editorMode": "code",
        }
        for place, (query, name) in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": about,
        "links": [_section(name) for name in re.findall(r"[A-Z]\w+", about.partition("Runbook:")[2])],
        "datasource": SOURCE,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    }


def _laid_out(rows: Iterable[list[Panel]]) -> list[Panel]:
    """Number the panels, and give each its place: from left to right, then down."""
    found: list[Panel] = []
    top = left = height = 0
    for panel in (panel for one in rows for panel in one):
        width, tall = (WHOLE, 1) if panel["type"] == "row" else (panel["gridPos"]["w"], panel["gridPos"]["h"])
        if left + width > WHOLE:
            top, left, height = top + height, 0, 0
        found.append(panel | {"id": len(found) + 1, "gridPos": {"x": left, "y": top, "w": width, "h": tall}})
        left, height = left + width, max(height, tall)
    return found


def _source() -> dict[str, Any]:
    current = {"text": "cortex", "value": "cortex-prometheus"}
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
        "current": current,
    }


def _place_of_runbook() -> dict[str, Any]:
    current = {"text": RUNBOOK, "value": RUNBOOK}
    return {"type": "textbox", "name": "runbook", "label": "Runbook", "query": RUNBOOK, "current": current, "hide": 2}


def _section(alert: str) -> dict[str, Any]:
    return {"title": f"Runbook: {alert}", "url": f"${{runbook}}#{alert.lower()}", "targetBlank": True}


def _variable(name: str) -> dict[str, Any]:
    label, query = VARIABLES[name]
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _firing() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing", severity=~"critical|warning"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{model}} {{node}} {{instance}}",
    }


def _others() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "cortex",
        "tags": ["cortex"],
        "asDropdown": True,
        "keepTime": True,
        "includeVars": True,
    }


def _runbook() -> dict[str, Any]:
    return {"type": "link", "title": "Runbook", "icon": "doc", "url": "${runbook}", "targetBlank": True}
