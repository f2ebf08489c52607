"""The Grafana dashboard as Grafana reads it: `render.py` writes charts/mailtls/files/dashboard.json from it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from contracts.dashboard_rows import ROWS, Panel

WIDTH: Final = 24  # of Grafana's grid
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> str:
    """Return charts/mailtls/files/dashboard.json."""
    document = {
        "uid": "mailtls",
        "title": "mailtls",
        "description": "Certificates of mail servers: what is stored, what is served, and how the operator does.",
        "tags": ["mailtls", "tls", "mail"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }
    return json.dumps(document, indent=1) + "\n"


def _variables() -> Iterator[Mapping[str, Any]]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    of_namespace = 'mailtls_status_condition{namespace=~"$namespace"}'
    for name, of in (("namespace", "mailtls_status_condition"), ("name", of_namespace)):
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": f"label_values({of}, {name})", "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }


def _panels() -> Iterator[Mapping[str, Any]]:
    number, top = 0, 0
    for title, panels in ROWS.items():
        number += 1
        grid = {"h": 1, "w": WIDTH, "x": 0, "y": top}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": grid, "panels": []}
        left, top, height = 0, top + 1, 0
        for panel in panels:
            if left + panel.width > WIDTH:
                left, top, height = 0, top + height, 0
            number += 1
            height = max(height, 4 if panel.kind == "stat" else 8)
            yield _panel(number, panel, {"h": 4 if panel.kind == "stat" else 8, "w": panel.width, "x": left, "y": top})
            left += panel.width
        top += height


def _panel(number: int, panel: Panel, grid: Mapping[str, int]) -> Mapping[str, Any]:
    steps = [{"value": value, "color": color} for value, color in panel.steps]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": grid,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": list(_targets(panel)),
    }
    if panel.kind == "stat":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    if panel.kind == "table":
        hidden = dict.fromkeys(("Time", *panel.hidden), True)
        organize = {"excludeByName": hidden, "renameByName": {"Value": panel.value}}
        made["transformations"] = [{"id": "organize", "options": organize}]
    return made


def _targets(panel: Panel) -> Iterator[Mapping[str, Any]]:
    for number, query in enumerate(panel.queries):
        target: dict[str, Any] = {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query.expression}
        if panel.kind == "timeseries":
            yield target | {"legendFormat": query.legend}
        else:
            yield target | {
                "instant": True,
                "range": False,
                "format": "table" if panel.kind == "table" else "time_series",
            }
