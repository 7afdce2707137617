"""Dashboard, rules and runbook name what there is, and each other."""

import collections
import json
import re
import shutil
import subprocess

import pytest

from machines import supervisor
from server.http import errors
from server.metrics import families
from tests.deploy import known
from tests.test_docs import SOURCES, anchors, subcommands
from tests.tools.dashboard import file

ALERTS = known.alerts()
NAMES = [alert["alert"] for alert in ALERTS]
RUNBOOK = known.RUNBOOK.read_text("utf-8")
SAMPLES = known.samples()

each_query = pytest.mark.parametrize(
    ("where", "query"), known.queries(), ids=lambda value: str(value)[:60]
)
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=NAMES)


@each_query
def test_a_query_names_metrics_that_there_are(where: str, query: str) -> None:
    named = known.named(query)
    recorded = [name for name in known.recorded() if name in query]
    assert named or recorded, where
    for name, labels in named:
        assert name in SAMPLES, f"{where}: {name}"
        assert labels <= SAMPLES[name], f"{where}: {name} has no {labels - SAMPLES[name]}"


@each_query
def test_a_query_groups_by_labels_that_there_are(where: str, query: str) -> None:
    whole = query
    for name, expression in known.recorded().items():
        whole = whole.replace(name, expression)
    there_are = {label for name, _ in known.named(whole) for label in SAMPLES[name]}
    assert known.grouped(query) <= there_are


def test_what_is_pending_is_not_there_yet() -> None:
    """Or it has to go from the list."""
    assert known.PENDING.keys() & {each.name for each in families.FAMILIES} == set()


def test_every_metric_of_a_server_is_drawn() -> None:
    """But these, which say nothing that another does not say better."""
    shown = {name for _, query in known.drawn() for name, _ in known.named(query)}
    stems = {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in shown}
    missing = {each.name for each in families.FAMILIES} - stems - shown
    assert missing == {
        "process_virtual_memory_bytes",
        "turntape_account_info",
        "turntape_log_segments_pruned_total",
        "turntape_spans_total",  # of those who trace; the tracing page says what to look at
        "turntape_store_pruned_bytes_total",
    }


def test_the_dashboard_is_as_its_panels_say() -> None:
    current = known.DASHBOARD.read_text("utf-8")
    assert current == file.text(), "out of date: run `python -m tests.tools.redraw`"


def test_panels_lie_beside_each_other() -> None:
    taken: collections.Counter[tuple[int, int]] = collections.Counter()
    for panel in known.panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= file.COLUMNS
        taken.update(
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        )
    assert set(taken.values()) == {1}
    assert len({panel["id"] for panel in known.panels()}) == len(known.panels())


def test_every_panel_says_what_it_shows() -> None:
    for panel in known.panels():
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel.get("targets") or panel["type"] == "text"


def test_links_of_the_dashboard_lead_to_pages() -> None:
    text = known.DASHBOARD.read_text("utf-8")
    found = re.findall(r"\$\{docs\}/([\w.]+)(?:#([\w-]+))?", text)
    assert ("runbook.md", "") in found
    for page, anchor in found:
        assert not anchor or anchor in anchors(known.DOCS / page)
        assert (known.DOCS / page).exists()


@each_alert
def test_an_alert_says_all_that_its_reader_needs(alert: known.Json) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    texts = alert["annotations"]
    assert set(texts) == {"summary", "description", "runbook_url"}
    assert len(texts["summary"]) < 70
    assert texts["description"].strip().endswith((".", "{{ end }}"))
    page, _, anchor = texts["runbook_url"].partition("#")
    assert page == f"{file.DOCUMENTS}/runbook.md"
    assert anchor == alert["alert"].lower()


def section(name: str) -> str:
    """An alert's part of the runbook."""
    found = re.search(rf"(?ms)^### {name}\n(.*?)(?=^##)", RUNBOOK)
    assert found, f"the runbook has no section {name}"
    return found[1]


@each_alert
def test_an_alert_has_a_section_with_all_its_parts(alert: known.Json) -> None:
    text = section(alert["alert"])
    assert "**Costs:**" in text
    assert "**Call**" in text
    assert "```sh\n" in text


def test_every_section_is_of_an_alert() -> None:
    assert sorted(re.findall(r"(?m)^### (Turntape\w+)$", RUNBOOK)) == sorted(NAMES)


@each_alert
def test_an_alert_has_a_story_in_which_it_fires_and_one_in_which_it_does_not(
    alert: known.Json,
) -> None:
    names = [story["name"] for story in known.stories()]
    for what in ("fires", "does not fire"):
        assert any(name.startswith(f"{alert['alert']} {what}: ") for name in names), what


COMMANDS = [line for block in known.indented("sh") for line in block.splitlines()]


def test_commands_of_the_runbook_are_commands() -> None:
    used = re.findall(r"\bturntape (\w+)", "\n".join(COMMANDS))
    assert set(used) <= subcommands()
    assert {"log", "show", "replay", "doctor", "smoke"} <= set(used)


def test_events_that_the_runbook_looks_for_are_said() -> None:
    events = re.findall(r'\.event == "(\w+)"', RUNBOOK)
    assert len(set(events)) > 15
    for event in events:
        assert f'"{event}"' in SOURCES or event == "terminal", event


def test_codes_of_the_runbook_are_codes() -> None:
    tables = re.findall(r"(?m)^\| (`\w+`(?:, `\w+`)*)(?:,[^`|]*)? \| ", RUNBOOK)
    codes = {code for row in tables for code in re.findall(r"`(\w+)`", row)}
    assert len(codes) > 12
    assert codes - {"code", "worker"} <= errors.CASES.keys() | set(supervisor.TABLE.states) | {
        "logged_out"
    }


def test_lines_of_the_runbook_are_those_that_jq_reads() -> None:
    (lines,) = (line for line in COMMANDS if line.startswith("lines()"))
    # As a journal has it: the manager's words, and the server's own at a start.
    journal = 'Started turntape.service.\nturntape: listening on http://h/v1\n{"event":"x"}\n'
    script = f"said() {{ cat; }}\n{lines}\nlines"
    done = subprocess.run(
        ("sh", "-c", script), input=journal, capture_output=True, text=True, check=True
    )
    assert done.stdout == '{"event":"x"}\n'
    assert not any(line.startswith("said | jq") for line in COMMANDS)


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_filters_of_the_runbook_can_be_read() -> None:
    filters = re.findall(r"jq -\w+ '([^']+)'", "\n".join(COMMANDS))
    assert len(filters) > 15
    for text in filters:
        done = subprocess.run(
            ("jq", "-c", text), input=json.dumps({}), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (text, done.stderr)
