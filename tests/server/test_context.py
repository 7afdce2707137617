"""What every endpoint works with: the names that a worker takes, and the deadlines of streams."""

from pathlib import Path
from typing import Any

import pytest

from engine.codex import disabled
from engine.routing import fleet as routing
from server import context
from server.config import settings
from server.config.load import ConfigError
from server.config.settings import Config
from tests.server.answering import Player


def config(**fields: Any) -> Config:
    """A configuration."""
    return settings.Config(data_dir=Path("/data"), log_dir=Path("/data/log"), **fields)


def test_deadlines_are_microseconds() -> None:
    made = context.stream_deadlines(
        config(sse_keepalive_ms=1, head_hold_ms=2, first_chunk_timeout_ms=3, timeout_ms=4)
    )
    assert (made.heartbeat, made.head_hold, made.first_chunk, made.total) == (
        1000,
        2000,
        3000,
        4000,
    )


@pytest.mark.parametrize(
    ("fields", "grace"),
    [
        ({"stop_after_tools": False}, 0),
        ({"stop_after_tools": True, "stop_after_tools_mode": "first"}, 0),
        (
            {
                "stop_after_tools": True,
                "stop_after_tools_mode": "burst",
                "stop_after_tools_grace_ms": 5,
            },
            5000,
        ),
        (
            {
                "stop_after_tools": True,
                "stop_after_tools_mode": "burst",
                "stop_after_tools_grace_ms": 0,
            },
            1,
        ),
    ],
)
def test_a_grace_for_further_calls_is_of_bursts_alone(fields: dict[str, Any], grace: int) -> None:
    assert context.stream_deadlines(config(**fields)).tool_grace == grace


def test_when_an_answer_with_calls_is_cut() -> None:
    assert context.stop_after_tools(config(stop_after_tools=False)) is None
    cut = config(stop_after_tools=True, stop_after_tools_mode="burst")
    assert context.stop_after_tools(cut) == "burst"


def test_aliases_of_a_worker_with_a_list_stand_for_its_default() -> None:
    table = context.accepted(config(), disabled.DisabledWorker("gpt-5.5"))
    assert table.resolve("codex-5") == table.resolve("gpt-5.5")
    assert table.resolve("gpt-2") is None


def test_a_rule_of_the_models_file_that_leads_nowhere_stops_the_start(tmp_path: Path) -> None:
    rules = {"mine": routing.Rule(worker="codex", model="gpt-2")}
    broken = config(models=rules, models_file=tmp_path / "models.toml")
    with pytest.raises(ConfigError, match="gpt-2"):
        context.fleet(broken, {"codex": Player(())})
