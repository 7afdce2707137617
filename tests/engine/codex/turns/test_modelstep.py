"""A step of the model, read off the provider's own items."""

from typing import Any

import msgspec
import pytest

from engine import worker
from engine.codex.protocol import notifications
from engine.codex.request import tools
from engine.codex.turns import modelstep

TOOLS = tools.Toolset((worker.Tool("add"), worker.Tool("exec_command")))


def item(type_: str, turn_id: str = "t1", **members: Any) -> notifications.RawItemCompleted:
    """A raw item of a turn."""
    raw = msgspec.Raw(msgspec.json.encode({"type": type_, **members}))
    return notifications.RawItemCompleted("th", turn_id, raw)


def called(name: str, arguments: str, call_id: str = "c1", **members: Any) -> Any:
    """A raw call."""
    return item("function_call", call_id=call_id, name=name, arguments=arguments, **members)


def test_a_step_is_its_own_items_and_the_clients_names() -> None:
    collector = modelstep.StepCollector(TOOLS)
    echo = item("function_call", "auto-compact-0", call_id="old", name="add", arguments="{}")
    stopped = called("add", "{}", "other", turn_id="t0")
    own = [
        item("reasoning", encrypted_content="x"),
        called(TOOLS.alias("exec_command"), '{"a": 1.50}'),
        item("tool_search_call", arguments={"q": 1}),
    ]
    for each in (echo, stopped, *own):
        collector.item(each)
    collector.on_text("Wait")
    collector.on_text(".")
    step = collector.whole("t1")
    assert step.calls == (worker.Call("c1", "exec_command", '{"a": 1.50}'),)
    assert step.items == tuple(each.item for each in own)
    assert (step.text, step.answerable) == ("Wait.", True)
    assert collector.whole("t1") == modelstep.ModelStep((), (), "", True)


@pytest.mark.parametrize(
    ("name", "arguments", "answerable"),
    [
        ("add", "{}", True),
        ("add", ' {"a": [1]} ', True),
        ("add", "", False),
        ("add", '{"a"', False),
        ("add", "[]", False),
        ("add", "null", False),
        ("add", "[" * 100_000, False),
        ("exec_command", "{}", False),
        ("other", "{}", False),
    ],
)
def test_codex_answers_some_calls_itself(name: str, arguments: str, answerable: bool) -> None:
    collector = modelstep.StepCollector(TOOLS)
    collector.item(called("add", "{}", "c0"))
    collector.item(called(name, arguments))
    assert collector.whole("t1").answerable is answerable
