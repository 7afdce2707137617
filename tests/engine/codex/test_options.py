"""What a thread of Codex is asked for with, by an operator's decisions and the turn."""

import tempfile
from pathlib import Path

import pytest

from engine.codex.request import tools
from server import assembly
from server.config import load as configuration
from tests.engine.test_worker import asking


@pytest.mark.parametrize(
    ("reasoning_items", "declares", "raw"),
    [(False, False, False), (True, False, True), (False, True, True)],
)
def test_raw_events_come_where_a_turn_needs_them(
    reasoning_items: bool, declares: bool, raw: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        settings, _ = configuration.load({"PROXY_DATA_DIR": directory})
        options = assembly.codex_options(settings)
        turn = asking("hi", reasoning_items=reasoning_items)
        toolset = tools.Toolset(()) if declares else None
        thread = options.thread(turn, toolset)
        assert thread.experimental_raw_events is raw
        assert thread.model == turn.target
        assert Path(thread.cwd).is_absolute()


def test_a_thread_for_a_probe_has_no_functions() -> None:
    with tempfile.TemporaryDirectory() as directory:
        settings, _ = configuration.load({"PROXY_DATA_DIR": directory})
        thread = assembly.codex_options(settings).new_thread("gpt-5.5")
        assert (thread.model, thread.dynamic_tools, thread.ephemeral) == ("gpt-5.5", (), True)
        assert not thread.experimental_raw_events
