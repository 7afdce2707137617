"""A model that makes the calls that a test tells it to, behind a server on each worker.

It calls the tools that it is offered, under the names that they have there: those are the server's
to choose, and a client must not see them.
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.clients import scenes
from tests.support.process import serving
from tests.support.providers import provider, replies, upstreams, upstreamshapes
from tests.support.providers.upstreams import chunk

ANSWER = "All done."
"""What the model says when it has the results of all its calls."""


class Call(NamedTuple):
    """A call that the model makes.

    Attributes:
        tool: the name by which it is offered, but for what Codex as a worker puts behind it.
    """

    tool: str
    arguments: dict[str, str]


@dataclasses.dataclass
class Model:
    """The model of one conversation: a call a step, then the answer.

    Attributes:
        results: what the client brought for the calls so far.
        made: the earlier calls as the model is shown them.
        offered: the tools of the last request, by their names.
    """

    calls: tuple[Call, ...]
    results: list[Any] = dataclasses.field(default_factory=list)
    made: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    offered: dict[str, Any] = dataclasses.field(default_factory=dict)

    def next(self) -> tuple[str, tuple[str, ...]] | None:
        """The name of the next call, and its arguments in pieces; None once it answers."""
        if len(self.results) == len(self.calls):
            return None
        tool, arguments = self.calls[len(self.results)]
        # Codex keeps some names for itself: the alias of such a tool has a digest behind it.
        known = re.compile(rf"{re.escape(tool)}(_[0-9a-f]{{8}})?")
        (name,) = filter(known.fullmatch, self.offered)
        return name, scenes.pieces(json.dumps(arguments, ensure_ascii=False))


@contextlib.contextmanager
def on_codex(model: Model) -> Iterator[serving.Serve]:
    """A server on the real binary, the model behind it."""

    def answer(request: provider.Request) -> replies.Answer:
        items = request.body["input"]
        model.offered = {tool["name"]: tool for tool in request.body.get("tools", ())}
        model.results = [
            each["output"] for each in items if each["type"] == "function_call_output"
        ]
        made = (each for each in items if each["type"] == "function_call")
        model.made = [(each["name"], json.loads(each["arguments"])) for each in made]
        called = model.next()
        if called is None:
            return replies.Stream((replies.Message((ANSWER,)),))
        return replies.Stream((replies.FunctionCall(f"call_{len(model.results)}", *called),))

    with provider.Provider(answer) as behind, serving.codex(behind.url) as server:
        yield server


@contextlib.contextmanager
def on_upstream(model: Model) -> Iterator[serving.Serve]:
    """A server in front of an upstream, which is the model."""

    def answer(request: upstreams.Request) -> upstreams.Answer:
        messages = request.body["messages"]
        functions = [tool["function"] for tool in request.body.get("tools", ())]
        model.offered = {function["name"]: function for function in functions}
        model.results = [each["content"] for each in messages if each["role"] == "tool"]
        made = [call["function"] for each in messages for call in each.get("tool_calls") or ()]
        model.made = [(each["name"], json.loads(each["arguments"])) for each in made]
        called = model.next()
        if called is None:
            return upstreams.stream(chunk(ANSWER), chunk(finish="stop"))
        name, (first, *rest) = called
        opening = {"index": 0, "id": f"call_{len(model.results)}", "type": "function"}
        opening["function"] = {"name": name, "arguments": first}
        pieces = [opening, *(upstreamshapes.more(0, piece) for piece in rest)]
        told = (upstreamshapes.delta(tool_calls=[piece]) for piece in pieces)
        return upstreams.stream(*told, chunk(finish="tool_calls"))

    with upstreams.stage(answer) as stage:
        yield stage.server


WORKERS: dict[str, Callable[[Model], contextlib.AbstractContextManager[serving.Serve]]] = {
    "codex": on_codex,
    "upstream": on_upstream,
}
