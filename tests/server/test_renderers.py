"""What every renderer of an answer has in common."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import pytest

from machines import events, outputs
from machines.outputs import (
    CallMembers,
    Content,
    Head,
    Members,
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

TOKENS = msgspec.Raw(
    b'{"logprobs":{"content":[{"token":"a","logprob":-1,"bytes":[97],"top_logprobs":[]}]}}'
)
CITED = msgspec.Raw(
    b'{"annotations":[{"type":"url_citation","url_citation":'
    b'{"start_index":0,"end_index":1,"title":"t","url":"u"}}]}'
)

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
    "texts with tokens": lambda _: (Members("choice", TOKENS, followed=True), Content("Hello")),
    "citations": lambda _: (Content("Hello"), Members("delta", CITED)),
    "members of chunks": lambda index: (
        Members("chunk", msgspec.Raw(b'{"a":%d}' % index)),
        Content("Hello"),
    ),
    "members of a call": lambda index: (
        *((ToolCall(0, "c", "f", "{}"),) if index == 0 else ()),
        CallMembers(0, msgspec.Raw(b'{"a":"b"}')),
    ),
    "refusals and texts": lambda _: (Refusal("No."), Content("Hello")),
}
"""What an answer may have any number of, by its number."""


ENDPOINTS: Final = (events.CHAT, events.RESPONSES, events.COMPLETIONS)

each_renderer = pytest.mark.parametrize(
    ("endpoint", "streaming"),
    [(endpoint, mode) for endpoint in ENDPOINTS for mode in (True, False)],
)


RENDERED: Final = [output for output in OUTPUTS if not isinstance(output, outputs.Rejected)]
"""Every output but the one that `server.api.reply` makes an error response of."""


@each_renderer
@pytest.mark.parametrize("output", RENDERED, ids=lambda output: type(output).__name__)
def test_every_output_is_known(output: outputs.AnyOutput, endpoint: str, streaming: bool) -> None:
    reply = renderers.reply(playbook.opened(endpoint=endpoint, streaming=streaming, n=2))
    begun: list[outputs.AnyOutput] = [Head(), Role(), Role(1)]
    if isinstance(output, ToolArguments | CallMembers):
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

    growth.check_linear(prepare, 500)
