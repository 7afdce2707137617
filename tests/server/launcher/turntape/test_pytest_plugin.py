"""The plugin in projects that do not use it: it changes nothing, and costs next to nothing."""

from pathlib import Path

import pytest

from tests.server.launcher.turntape import project

pytestmark = pytest.mark.slow

UNUSED = """
import sys

def test_nothing_is_loaded():
    ours = [name for name in sys.modules if name.startswith(("turntape.", "server", "msgspec"))]
    assert ours == ["turntape.pytest_plugin"], ours

def test_no_hook_stands_behind_a_test(request):
    hooks = request.config.hook.pytest_runtest_makereport.get_hookimpls()
    assert not [hook for hook in hooks if "turntape" in hook.plugin_name]
"""


@pytest.fixture
def mine(tmp_path: Path) -> project.Project:
    (tmp_path / "project").mkdir()
    return project.Project(tmp_path / "project", project.package(tmp_path / "path"))


def test_nothing_is_loaded_before_a_test_asks_for_it(mine: project.Project) -> None:
    mine.write("test_other.py", UNUSED)
    status, printed = mine.pytest("-W", "error", "--strict-markers", "--strict-config")
    assert status == 0, printed


def test_it_can_be_left_out(mine: project.Project) -> None:
    mine.write("test_it.py", "def test_it(turntape_mock): pass\n")
    status, printed = mine.pytest("-p", "no:turntape")
    assert status == 1
    assert "fixture 'turntape_mock' not found" in printed


def test_its_options_and_its_marker_are_listed(mine: project.Project) -> None:
    status, printed = mine.pytest("--help")
    assert status == 0
    for name in ("--turntape-on-miss", "--turntape-upstream", "--turntape-speed"):
        assert name in printed
    assert "turntape_recordings" in printed
    assert "@pytest.mark.turntape(transcripts=..." in mine.pytest("--markers")[1]
