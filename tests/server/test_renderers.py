"""What every renderer of an answer has in common."""

from collections.abc import Callable, Iterable
from typing import Final

import pytest

from machines import events, outputs
from machines.outputs import (
    Content,
    Head,
    Reasoning,
    ReasoningDone,
    Refusal,
    Role,
    ToolArguments,
    ToolBlock,
    ToolCall,
)
from server import renderers
from tests.machines.test_outputs import OUTPUTS
from tests.support.machines import playbook
from tests.support.process import growth

Outputs = Iterable[outputs.AnyOutput]

REPEATED: Final[dict[str, Callable[[int], Outputs]]] = {
    "calls": lambda index: (ToolCall(index, f"call_{index}", "f", '{"a":1}'),),
    "calls without arguments": lambda index: (ToolCall(index, f"call_{index}", "f", ""),),
    "calls that stay open": lambda index: (ToolCall(index, f"call_{index}", "f", '{"a":'),),
    "calls beside an open one": lambda index: (
        ToolCall(index, f"call_{index}", "f", '{"a":"' if index == 0 else "{}"),
        ToolArguments(0, "b"),
    ),
    "calls in fragments": lambda index: (
        ToolCall(index, f"call_{index}", "f", ""),
        ToolArguments(index, '{"a":'),
        ToolArguments(index, "1}"),
    ),
    "blocks": lambda index: (
        ToolCall(index, f"call_{index}", "f", '{"a":1}'),
        ToolBlock("f", '{"a":1}'),
    ),
    "texts": lambda _: (Content("Hello"),),
    "thoughts and texts": lambda _: (Reasoning("hm"), Content("Hello")),
    "two kinds of thoughts": lambda _: (Reasoning("hm"), Reasoning("hm", kind="text")),
    "whole thoughts": lambda index: (Reasoning("hm"), ReasoningDone(f"rs_{index}")),
    "refusals and texts": lambda _: (Refusal("No."), Content("Hello")),
}
"""What an answer may have any number of, by its number."""


each_renderer = pytest.mark.parametrize(
    ("endpoint", "streaming"),
    [(endpoint, mode) for endpoint in (events.CHAT, events.RESPONSES) for mode in (True, False)],
)


RENDERED: Final = [output for output in OUTPUTS if not isinstance(output, outputs.Rejected)]
"""Every output but the one that `server.api.reply` makes an error response of."""


@each_renderer
@pytest.mark.parametrize("output", RENDERED, ids=lambda output: type(output).__name__)
def test_every_output_is_known(output: outputs.AnyOutput, endpoint: str, streaming: bool) -> None:
    reply = renderers.reply(playbook.opened(endpoint=endpoint, streaming=streaming, n=2))
    begun: list[outputs.AnyOutput] = [Head(), Role(), Role(1)]
    if isinstance(output, ToolArguments):
        begun.append(ToolCall(output.index, "c0", "readNote", "", output.choice))
    for each in (*begun, output):
        assert isinstance(reply.render(each), bytes)


@each_renderer
@pytest.mark.parametrize("name", REPEATED)
def test_time_is_linear_in_what_an_answer_holds(name: str, endpoint: str, streaming: bool) -> None:
    first = playbook.opened(endpoint=endpoint, streaming=streaming)

    def prepare(size: int) -> Callable[[], object]:
        renderer = renderers.renderer(first)
        answer = (
            *(Head(), Role()),
            *(output for index in range(size) for output in REPEATED[name](index)),
            *(outputs.Finish("stop"), outputs.UsageTotals(None), outputs.Done()),
        )
        return lambda: b"".join(renderer.render(output) for output in answer)

    growth.check_linear(prepare, 1000)
