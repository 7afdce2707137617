"""The source of `machines/stream/compiled.py`: the table of a stream, as it was compiled."""

from pathlib import Path
from typing import Final

from machines import compiler
from machines.stream import declared
from machines.table import Table

PATH: Final = Path(__file__).parents[2] / "machines" / "stream" / "compiled.py"

HEAD: Final = '''"""The table of a stream's machine, compiled of `machines.stream.declared`.

Written by `python -m tests.tools.redraw`, and held to the declaration by a test: change that.
"""

from typing import Final

from machines.table import Table

TABLE: Final = Table(
'''


def source() -> str:
    """Return the module as it is to be."""
    found = compiler.compile_table(declared.StreamMachine)
    return HEAD + "".join(_members(found)) + ')\n"""Where each event leads from each state."""\n'


def _members(found: Table) -> list[str]:
    final = [state for state in found.states if state in found.final]
    return [
        f"    name={_quoted(found.name)},\n",
        f"    initial={_quoted(found.initial)},\n",
        f"    final=frozenset(({', '.join(map(_quoted, final))})),\n",
        "    states=(\n",
        *(f"        {_quoted(state)},\n" for state in found.states),
        "    ),\n",
        "    events=(\n",
        *(f"        {_quoted(event)},\n" for event in found.events),
        "    ),\n",
        "    transitions={\n",
        *(
            f"        ({_quoted(state)}, {_quoted(event)}): {_quoted(after)},\n"
            for (state, event), after in found.transitions.items()
        ),
        "    },\n",
    ]


def _quoted(name: str) -> str:
    return f'"{name}"'
