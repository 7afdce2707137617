"""Writes the parts of `docs/` that come from code anew: `python -m tests.tools.redraw`."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from machines import compiler, drawing, lifecycle, supervisor
from machines.stream import declared
from machines.turn import thread as threads, turn as turns
from server.config import load as configuration
from server.logschema import lines
from server.tracing import attributes
from tests.faults import matrix
from tests.simulator import containments
from tests.tools import (
    commandpage,
    decisions,
    eventschema,
    house,
    reference,
    sdksurface,
    shellfiles,
    streamtable,
    tokentrace,
)
from tests.tools.dashboard import file

DOCS = Path(__file__).parents[2] / "docs"

LINE_SCHEMA = DOCS / "diagnostics.schema.json"
"""The JSON Schema of a line of the diagnostics."""

LOG_SCHEMA = DOCS / "events.schema.json"
"""The JSON Schema of a line in the files of an event log."""

PAGE = DOCS / "machines.md"
"""The page of the machines."""

TABLES = (
    compiler.compile_table(declared.StreamMachine),
    turns.TABLE,
    threads.TABLE,
    supervisor.TABLE,
    lifecycle.TABLE,
)
"""Every machine that is declared, in the order of the page."""

PRINTED: dict[str, Callable[[], str]] = {
    "routes": reference.route_table,
    "sdk": sdksurface.table,
    "finish_reasons": reference.finish_table,
    "timeouts": reference.timeout_table,
    "errors": reference.error_table,
    "chain": reference.chain_tables,
    "events": reference.event_tables,
    "outputs": reference.output_table,
    "protocol": reference.protocol_table,
    "failures": reference.failure_table,
    "fault_tests": matrix.table,
    "containments": containments.table,
    "codex_settings": reference.codex_settings,
    "token_trip": tokentrace.block,
    "reasons": reference.reason_table,
    "diagnostic_lines": reference.line_table,
    "diagnostic_fields": reference.line_fields,
    "metrics": reference.metric_table,
    "request_span": lambda: reference.span_table(attributes.OF_REQUESTS),
    "answer_span": lambda: reference.span_table(attributes.OF_ANSWERS),
    "house": house.picture,
    "rooms": house.table,
    "decisions": decisions.table,
    **{
        f"options_{name}": functools.partial(commandpage.options, name)
        for name in commandpage.COMMANDS
    },
    "settings": lambda: configuration.reference().rstrip("\n"),
}
"""What makes each block that is not a machine, by its name."""


def pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted(DOCS.rglob("*.md"))


MACHINES: dict[str, Callable[[], str]] = {
    table.name: functools.partial(drawing.block, table) for table in TABLES
}
"""What draws each machine, by its name."""


def block(name: str) -> str:
    """A block with its marks."""
    return MACHINES[name]() if name in MACHINES else drawing.marked(name, PRINTED[name]())


def blocks() -> dict[str, str]:
    """Every block with its marks, by its name."""
    return {name: block(name) for name in (*MACHINES, *PRINTED)}


def line_schema() -> str:
    """The JSON Schema of a line of the diagnostics, as its file has it."""
    return json.dumps(lines.schema(), indent=1) + "\n"


def main() -> None:
    """Write every page with its blocks drawn anew, the dashboard, and what is compiled ahead."""
    table = streamtable.source()
    if streamtable.PATH.read_text(encoding="utf-8") != table:
        streamtable.PATH.write_text(table, encoding="utf-8")
        # Blocks that run a stream's machine have the new table in a new process only.
        sys.exit(subprocess.call((sys.executable, "-m", "tests.tools.redraw")))
    fresh = blocks()
    file.write()
    shellfiles.write()
    for page in pages():
        page.write_text(drawing.redraw(page.read_text(encoding="utf-8"), fresh), encoding="utf-8")
    LINE_SCHEMA.write_text(line_schema(), encoding="utf-8")
    LOG_SCHEMA.write_text(eventschema.text(), encoding="utf-8")


if __name__ == "__main__":
    main()
