"""Ranges are checked in processes of their own, which end with this one."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from engine.log.check import children, ranges
from server.renderers import reply
from tests.engine.log.check import checking
from tests.support.logs import logs
from tests.support.process import machinetime


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checking.write(tmp_path_factory.mktemp("log"))


def test_what_they_find_comes_in_the_order_of_the_ranges(log: Path) -> None:
    parts = ranges.divide(log, 2)
    found = children.run(log, parts, reply, checking.nobody)
    here = checking.here(log, parts, reply, checking.nobody)
    assert [each.begun for each in found] == [each.begun for each in here]


def test_the_death_of_a_child_is_said(log: Path) -> None:
    with pytest.raises(children.ChildDied, match="ended by signal 9, before it was done"):
        children.run(log, ranges.divide(log, 2), reply, checking.nobody, checking.killed)


def test_what_a_child_cannot_check_is_not_checked(log: Path, tmp_path: Path) -> None:
    parts = ranges.divide(log, 2)
    with pytest.raises(ranges.Unsound):
        children.run(tmp_path / "nothing", parts, reply, checking.nobody)


PARENT = """
import sys
from pathlib import Path
from engine.log.check import children, ranges
from server.renderers import reply
from tests.engine.log.check import checking

if __name__ == "__main__":
    log = Path(sys.argv[1])
    heard = []
    def tell(read):
        heard.append(read)
        if len(heard) == 20:
            print("reading", flush=True)
    children.run(log, ranges.divide(log, 2), reply, tell, checking.waiting)
"""
"""A parent whose children never come to an end."""


def test_children_end_with_their_parent(log: Path, tmp_path: Path) -> None:
    """Even where it is killed: its pipe is closed once the last of them has ended."""
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    reading, writing = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, str(program), str(log)],
        stdout=subprocess.PIPE,
        stderr=writing,
        env=logs.child_environment(),
    )
    os.close(writing)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"reading\n"
    parent.kill()
    parent.wait(machinetime.HANG_S)
    parent.stdout.close()
    said, data = b"", b"-"
    while data:  # until nobody has it open any more
        assert select.select([reading], [], [], machinetime.HANG_S)[0]
        data = os.read(reading, 65536)
        said += data
    os.close(reading)
    assert b"Traceback" not in said
