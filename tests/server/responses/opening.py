"""Streams of the Responses API for tests of what renders them."""

from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from machines import events, outputs
from machines.outputs import Done, Finish, Head, Role, UsageTotals
from server.api.reply import Reply
from server.responses.render import stream as responsestream
from tests.support.client import responseswire
from tests.support.machines import playbook, stories
from tests.support.providers import responsescript as script

NOW: Final = script.CREATED * 1_000_000
"""When every event of a rendered stream happens, in microseconds."""

BEGUN: Final = (Head(), Role())
"""The outputs that every stream begins with."""

COUNTED: Final = (UsageTotals(events.Usage(11, 5)), Done())
"""The last outputs of an answer."""

END: Final = (Finish("stop"), *COUNTED)
"""The same, its finish before them."""

FIRST: Final[dict[str, Any]] = {
    "completion_id": "resp_1",
    "endpoint": "responses",
    "include_usage": True,
    "empty_is_failure": True,
}
"""How every stream of this API is opened."""


def opened(**options: Any) -> events.Opened:
    """The first record of a stream."""
    return playbook.opened(**FIRST | options)


def requested(**fields: Any) -> msgspec.Raw:
    """A request as the first record has it."""
    return msgspec.Raw(msgspec.json.encode(fields))


def drawn(**options: Any) -> st.SearchStrategy[stories.Story]:
    """Whatever may happen to a stream; `options` as `stories.stories` has them."""
    return stories.stories(n=1, streaming=True, **FIRST | options)


def render(*said: outputs.AnyOutput, **options: Any) -> tuple[bytes, Reply]:
    """The bytes of a stream's outputs, and what made them."""
    rendering = Reply(responsestream.ResponseEvents(opened(**options)))
    return b"".join(rendering.render(output, NOW) for output in said), rendering


def check(body: bytes, *told: script.Event) -> None:
    """The bytes are those of these events, which the SDK takes and which add up."""
    numbered = script.numbered(*told)
    assert responseswire.whole(body) == numbered
    assert body == script.stream(*told)
    responseswire.check_types(numbered)
    responseswire.fold(numbered)
