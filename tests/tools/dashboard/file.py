"""Writes `docs/deploy/grafana-turntape.json` from its panels: `python -m tests.tools.redraw`.

Fifty panels in Grafana's own JSON are thousands of lines that nobody can review. What they show is
in `requests`, `state` and `keys` beside this file; what all of them share is here. The form is the
classic one of Grafana: each version from 10 on imports it, and file provisioning takes it so.

The data source is a variable, and there are no `__inputs`: these are asked for by the import
dialogue alone, and a dashboard that is provisioned from a file would be left without a source.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.tools.dashboard import keys, requests, state
from tests.tools.dashboard.panel import Draw, Panel, Row

Json = dict[str, Any]

PAGE: Final = Path(__file__).parents[3] / "docs" / "deploy" / "grafana-turntape.json"

SCHEMA: Final = 41
"""Version of the classic schema that Grafana 12 writes; later ones migrate it as they load it."""

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

DOCUMENTS: Final = "https://turntape.example/docs"
"""Where the pages are, until an operator says otherwise: the dashboard's variable `docs`."""

COLUMNS: Final = 24
"""Width of Grafana's grid."""

STACKED: Final = {"mode": "normal", "group": "A"}
NOT_STACKED: Final = {"mode": "none", "group": "A"}

TABLE_LEGEND: Final = {
    "displayMode": "table",
    "placement": "bottom",
    "showLegend": True,
    "calcs": ["lastNotNull", "max"],
}


ROWS: Final[tuple[Row, ...]] = (
    *(requests.NOW, requests.OF_REQUESTS, requests.OF_ANSWERS, requests.OF_RESPONSES),
    *(state.OF_WORKERS, state.OF_TOOLS, state.OF_PROCESS, state.OF_LOG),
    keys.OF_KEYS,
)
"""Every row, in order."""


def dashboard() -> Json:
    """The whole dashboard."""
    return {
        "__requires": list(_requirements()),
        "uid": "turntape",
        "title": "Turntape",
        "description": "Requests, answers, workers, log and store of Turntape servers.",
        "tags": ["turntape"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "schemaVersion": SCHEMA,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timepicker": {"refresh_intervals": ["10s", "30s", "1m", "5m", "15m", "1h"]},
        "links": list(_links()),
        "templating": {"list": list(_variables())},
        "annotations": {"list": list(_annotations())},
        "panels": list(_panels()),
    }


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def write() -> None:
    """Write the file anew."""
    PAGE.write_text(text(), encoding="utf-8")


def _requirements() -> Iterator[Json]:
    yield {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.0.0"}
    yield {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"}
    kinds = {panel.draw.value for row in ROWS for panel in row.panels}
    for kind in sorted(kinds):
        yield {"type": "panel", "id": kind, "name": kind, "version": ""}


def _links() -> Iterator[Json]:
    for title, page in (
        ("Runbook", "runbook.md"),
        ("turntape inspect: one request by its id", "operations.md#when-a-stream-went-wrong"),
        ("What each metric means", "metrics.md"),
    ):
        yield {
            "title": title,
            "type": "link",
            "url": f"${{docs}}/{page}",
            "icon": "doc",
            "tooltip": "",
            "tags": [],
            "asDropdown": False,
            "targetBlank": True,
            "includeVars": False,
            "keepTime": False,
        }


def _variables() -> Iterator[Json]:
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "refresh": 1,
        "current": {},
    }
    chosen = 'job=~"$job", instance=~"$instance"'
    requests = "turntape_http_requests_total"
    yield _variable("job", "label_values(turntape_build_info, job)")
    yield _variable("instance", 'label_values(turntape_build_info{job=~"$job"}, instance)')
    yield _variable("route", f"label_values({requests}{{{chosen}}}, route)", everything=".*")
    yield _variable(
        "model", f"label_values(turntape_streams_total{{{chosen}}}, model)", everything=".*"
    )
    yield {
        "name": "docs",
        "label": "Where the documentation is",
        "type": "constant",
        "query": DOCUMENTS,
        "hide": 2,
        "skipUrlSync": True,
        "current": {"selected": True, "text": DOCUMENTS, "value": DOCUMENTS},
    }


def _variable(name: str, query: str, everything: str | None = None) -> Json:
    """A variable whose values are those of a label.

    Args:
        everything: what `All` stands for. Without it, it is every value that was found, which a
            metric that is not ours alone needs, and one that has no series yet cannot have.
    """
    made: Json = {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": f"Variable-{name}"},
        "regex": "",
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "refresh": 2,
        "sort": 1,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }
    return made if everything is None else {**made, "allValue": everything}


def _annotations() -> Iterator[Json]:
    """Vertical lines where a server began, and where an alert fires."""
    chosen = 'job=~"$job", instance=~"$instance"'
    yield {
        "name": "Starts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": f"changes(process_start_time_seconds{{{chosen}}}[1m]) > 0",
        "titleFormat": "started",
        "textFormat": "{{instance}}",
    }
    yield {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Turntape.*", alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}}",
    }


def _panels() -> Iterator[Json]:
    """Rows, and what is in them, from left to right and from the top."""
    number, x, y, lowest = 1, 0, 0, 0
    for row in ROWS:
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": lowest}
        yield {
            "type": "row",
            "id": number,
            "title": row.title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        number, x, y, lowest = number + 1, 0, lowest + 1, lowest + 1
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y = 0, lowest
            place = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            yield _panel(panel, number, place)
            number, x, lowest = number + 1, x + panel.width, max(lowest, y + panel.height)


def _panel(panel: Panel, number: int, place: Json) -> Json:
    made: Json = {
        "type": panel.draw.value,
        "id": number,
        "title": panel.title,
        "description": panel.meaning,
        "gridPos": place,
    }
    if panel.draw is Draw.TEXT:
        options = {"mode": "markdown", "content": panel.markdown}
        return {**made, "options": options, "transparent": False}
    return {
        **made,
        "datasource": SOURCE,
        "targets": [
            _target(panel, query, legend, letter)
            for (query, legend), letter in zip(panel.queries, "ABCDEFGH", strict=False)
        ],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(panel: Panel, query: str, legend: str, letter: str) -> Json:
    now = panel.draw in (Draw.STAT, Draw.BARS)
    heat = panel.draw is Draw.HEAT
    return {
        "refId": letter,
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query,
        "legendFormat": "{{le}}" if heat else legend,
        "format": "heatmap" if heat else "time_series",
        "instant": now,
        "range": not now,
    }


def _field(panel: Panel) -> Json:
    defaults: Json = {
        "unit": panel.unit,
        "noValue": "none",
        "mappings": [],
        "color": _color(panel),
    }
    if panel.most is not None:
        defaults |= {"min": 0, "max": panel.most}
    first: list[Json] = [{"color": "green", "value": None}]
    steps = first + [{"color": color, "value": value} for value, color in panel.limits]
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.draw is Draw.TIME:
        defaults["custom"] = {
            "drawStyle": "line",
            "lineInterpolation": "linear",
            "lineWidth": 1,
            "fillOpacity": 40 if panel.stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": STACKED if panel.stacked else NOT_STACKED,
            "thresholdsStyle": {"mode": "dashed" if panel.limits else "off"},
        }
    return defaults


def _color(panel: Panel) -> Json:
    by_value = panel.draw in (Draw.STAT, Draw.BARS)
    return {"mode": "thresholds" if by_value else "palette-classic"}


def _options(panel: Panel) -> Json:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.draw:
        case Draw.TIME:
            return {"legend": TABLE_LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}}
        case Draw.STAT:
            return {
                "reduceOptions": last,
                "colorMode": "value",
                "graphMode": "none",
                "textMode": "name" if panel.named else "auto",
            }
        case Draw.BARS:
            return {"reduceOptions": last, "displayMode": "gradient", "orientation": "horizontal"}
        case _:
            return {
                "calculate": False,
                "yAxis": {"unit": panel.unit},
                "cellGap": 1,
                "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
            }
