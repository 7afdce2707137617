"""Tools of every shape by the official Python SDK, whose every type is checked, on each worker."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from openai import BadRequestError, OpenAI

from machines import events
from tests.clients import callers
from tests.clients.callers import ANSWER, Call
from tests.support.logs import serverlog
from tests.support.process import serving

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
PATCH: Any = {
    "type": "custom",
    "name": "patch",
    "description": "Edits files.",
    "format": GRAMMAR,
}
LOOK: Any = {
    "type": "function",
    "name": "look",
    "description": "Looks something up.",
    "parameters": {"type": "object", "properties": {"what": {"type": "string"}}},
    "strict": False,
}
MAPS: Any = {"type": "namespace", "name": "maps", "description": "About maps.", "tools": [LOOK]}
WEB: Any = {"type": "web_search"}
SHELL: Any = {"type": "local_shell"}

TEXT = 'say "世界"\\n\n'
CALLS = (
    Call("patch", {"input": TEXT}),
    Call("maps__look", {"what": "Paris"}),
    Call("look", {"what": "Rome"}),
)
"""One of each shape; two have the same name, one of them in a namespace."""


class Stage(NamedTuple):
    """A client, its server on one of the workers, and the model behind it."""

    client: OpenAI
    model: callers.Model
    server: serving.Serve
    worker: str


@pytest.fixture(
    scope="module", params=[pytest.param("codex", marks=pytest.mark.codex), "upstream"]
)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    model = callers.Model(CALLS)
    with callers.WORKERS[request.param](model) as server:
        with OpenAI(
            base_url=server.url, api_key="k", max_retries=0, _strict_response_validation=True
        ) as client:
            yield Stage(client, model, server, request.param)
        serverlog.audit(server)


def asked(stage: Stage, streamed: bool, **fields: Any) -> Any:
    """A response, streamed or not."""
    options = {"model": "gpt-5.5", "tools": [LOOK, PATCH, MAPS, WEB]} | fields
    if not streamed:
        return stage.client.responses.create(**options)
    with stage.client.responses.stream(**options) as stream:
        return stream.get_final_response()


def result(item: Any, text: str) -> Any:
    """The output of a call, in the call's kind."""
    return {"type": f"{item.type}_output", "call_id": item.call_id, "output": text}


def called(item: Any) -> tuple[Any, ...]:
    """A call as its client knows it."""
    what = item.input if item.type == "custom_tool_call" else json.loads(item.arguments)
    return item.type, item.namespace, item.name, what


@pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])
@pytest.mark.parametrize("by", ["previous_response_id", "items"])
def test_each_call_is_told_as_its_tool_was_declared(stage: Stage, by: str, streamed: bool) -> None:
    history: list[Any] = [{"role": "user", "content": f"Use them, {by}, {streamed}."}]
    response = asked(stage, streamed, input=history)
    found = []
    for number in range(len(CALLS)):
        (item,) = response.output
        found.append(called(item))
        brought = result(item, f"result {number}")
        if by == "items":
            history += [item.to_dict(), brought]
            response = asked(stage, streamed, input=history, store=False)
        else:
            previous = {"previous_response_id": response.id}
            response = asked(stage, streamed, input=[brought], **previous)
    assert found == [
        ("custom_tool_call", None, "patch", TEXT),
        ("function_call", "maps", "look", {"what": "Paris"}),
        ("function_call", None, "look", {"what": "Rome"}),
    ]
    assert response.output_text == ANSWER
    assert [tool.type for tool in response.tools] == ["function", "custom", "namespace"]
    assert stage.model.results == ["result 0", "result 1", "result 2"]
    assert stage.model.made == [(call.tool, call.arguments) for call in CALLS]


def test_what_is_left_out_or_done_otherwise_is_named(stage: Stage) -> None:
    raw = stage.client.responses.with_raw_response.create(
        model="gpt-5.5", input="Begin.", tools=[WEB, PATCH, SHELL, LOOK, MAPS]
    )
    assert raw.headers["x-turntape-ignored"] == "tools[0], tools[2]"
    assert raw.headers["x-turntape-emulated"] == "tools[1].format"
    offered = stage.model.offered
    assert list(offered) == ["patch", "look", "maps__look"]
    assert "start: /.+/" in offered["patch"]["description"]
    assert "About maps." in offered["maps__look"]["description"]
    assert offered["patch"]["parameters"]["properties"] == {"input": {"type": "string"}}


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "web_search_preview"},
        {"type": "mcp", "server_label": "s"},
        {"type": "allowed_tools", "mode": "required", "tools": [WEB]},
    ],
)
def test_only_a_demand_for_what_runs_elsewhere_is_refused(stage: Stage, choice: Any) -> None:
    with pytest.raises(BadRequestError) as refused:
        asked(stage, False, input="Search.", tool_choice=choice)
    assert refused.value.param == "tool_choice"


@pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])
def test_tools_among_the_items_stay_in_the_conversation(stage: Stage, streamed: bool) -> None:
    declared = {"type": "additional_tools", "role": "developer", "tools": [PATCH, MAPS, LOOK]}
    greeting = {"role": "user", "content": f"Use those, {streamed}."}
    response = asked(stage, streamed, input=[declared, greeting], tools=[])
    (item,) = response.output
    assert called(item) == ("custom_tool_call", None, "patch", TEXT)
    previous = {"previous_response_id": response.id, "tools": []}
    response = asked(stage, streamed, input=[result(item, "done")], **previous)
    (item,) = response.output
    assert called(item) == ("function_call", "maps", "look", {"what": "Paris"})
    assert stage.model.results == ["done"]


def test_a_custom_tool_can_be_demanded(stage: Stage) -> None:
    response = asked(stage, True, input="Patch.", tool_choice={"type": "custom", "name": "patch"})
    (item,) = response.output
    assert called(item) == ("custom_tool_call", None, "patch", TEXT)
    assert list(stage.model.offered) == ["patch"]


def test_the_result_of_a_custom_call_goes_to_the_turn_that_waits_for_it(stage: Stage) -> None:
    response = asked(stage, False, input="Patch, and wait.")
    (item,) = response.output
    stage.client.responses.create(
        model="gpt-5.5",
        tools=[LOOK, PATCH, MAPS, WEB],
        input=[result(item, "done")],
        previous_response_id=response.id,
        extra_headers={"x-request-id": "resumed"},
    )
    told = serverlog.story(stage.server, "resumed")
    resumed = [event for event in told if isinstance(event, events.TurnResumed)]
    assert len(resumed) == (1 if stage.worker == "codex" else 0)
