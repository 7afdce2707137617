"""What the dashboard, the rules and the runbook name, and what there is to be named."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from server.metrics import families
from server.metrics.families import Type
from tests.support.process import readme

Json = dict[str, Any]

DOCS: Final = readme.ROOT / "docs"
DEPLOY: Final = DOCS / "deploy"
RULES: Final = DEPLOY / "turntape.rules.yml"
DASHBOARD: Final = DEPLOY / "grafana-turntape.json"
RUNBOOK: Final = DOCS / "runbook.md"
STORIES: Final = readme.ROOT / "tests" / "deploy" / "turntape.rules.test.yml"

PENDING: Final[dict[str, tuple[Type, tuple[str, ...]]]] = {}
"""Metrics that are drawn and not counted yet, with the labels that they will have."""

OF_PROMETHEUS: Final[dict[str, frozenset[str]]] = {
    "up": frozenset(),
    "ALERTS": frozenset(("alertname", "alertstate")),
}
"""Series that Prometheus makes by itself, and their labels."""

OF_TARGETS: Final = frozenset(("job", "instance"))
"""Labels that a scrape gives every series."""


def samples() -> dict[str, frozenset[str]]:
    """The names of all samples that a server has, or will have, and the labels of each."""
    declared = {each.name: (each.type, each.labels) for each in families.FAMILIES}
    found = dict(OF_PROMETHEUS)
    for name, (kind, labels) in {**declared, **PENDING}.items():
        if kind is Type.HISTOGRAM:
            found |= {f"{name}_{end}": frozenset(labels) for end in ("sum", "count")}
            found[f"{name}_bucket"] = frozenset((*labels, "le"))
        else:
            found[name] = frozenset(labels)
    return {name: labels | OF_TARGETS for name, labels in found.items()}


def groups() -> list[Json]:
    """The groups of the rules."""
    loaded: list[Json] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return loaded


def alerts() -> list[Json]:
    """The alerting rules."""
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


def recorded() -> dict[str, str]:
    """The expressions of the recording rules, by their names."""
    rules = [rule for group in groups() for rule in group["rules"] if "record" in rule]
    return {rule["record"]: rule["expr"] for rule in rules}


def stories() -> list[Json]:
    """The unit tests of the rules."""
    loaded: list[Json] = yaml.safe_load(STORIES.read_text("utf-8"))["tests"]
    return loaded


def panels() -> list[Json]:
    """The panels of the dashboard, and its rows."""
    loaded: list[Json] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return loaded


def drawn() -> Iterator[tuple[str, str]]:
    """The queries of the dashboard, each with its panel."""
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def of_runbook() -> list[str]:
    """The queries of the runbook."""
    blocks = indented("promql")
    return [line for block in blocks for line in block.splitlines() if line]


def indented(language: str) -> list[str]:
    """The fenced blocks of one language in the runbook, those within lists too."""
    pattern = rf"(?ms)^( *)```{language}\n(.*?)^\1```$"
    found = re.findall(pattern, RUNBOOK.read_text("utf-8"))
    return [re.sub(rf"(?m)^{indent}", "", block) for indent, block in found]


def queries() -> list[tuple[str, str]]:
    """Every query of the three, with where it stands."""
    return [
        *(("dashboard: " + title, query) for title, query in drawn()),
        *(("rule: " + rule["alert"], rule["expr"]) for rule in alerts()),
        *(("rule: " + name, query) for name, query in recorded().items()),
        *(("runbook", query) for query in of_runbook()),
    ]


_NAME: Final = re.compile(
    r"(?<![\w:.\"$])((?:turntape|process)_\w+|up|ALERTS)(?![\w:])(\{[^}]*\})?"
)
_LABEL: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")


def named(query: str) -> list[tuple[str, set[str]]]:
    """The samples that a query names, each with the labels that it chooses by."""
    return [(name, set(_LABEL.findall(chosen))) for name, chosen in _NAME.findall(query)]


def grouped(query: str) -> set[str]:
    """The labels that a query groups by."""
    lists = re.findall(r"\b(?:by|on|ignoring) \(([^)]*)\)", query)
    return {label.strip() for each in lists for label in each.split(",") if label.strip()}
