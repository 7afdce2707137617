"""The table that is compiled ahead is the one of today's declaration."""

import subprocess
import sys

from machines import compiler
from machines.stream import compiled, declared
from tests.tools import streamtable


def test_the_table_is_that_of_the_declaration() -> None:
    assert compiler.compile_table(declared.StreamMachine) == compiled.TABLE


def test_the_module_is_as_it_is_written() -> None:
    said = "out of date: run `python -m tests.tools.redraw`"
    assert streamtable.PATH.read_text("utf-8") == streamtable.source(), said


def test_a_stream_runs_without_what_its_machine_is_declared_with() -> None:
    code = "import sys, machines.stream.machine; print('statemachine' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
