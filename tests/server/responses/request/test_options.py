"""What a Responses request asks for reaches the server, and what is not honoured is named."""

import itertools
import json
from typing import Any

import msgspec
import pytest

from engine import slices, worker
from engine.stream import estimate
from server.api import answerform
from server.api.options import AnswerOptions
from server.config import load as configuration
from server.config.settings import Config
from server.http import errors
from server.http.exchange import Headers
from server.responses.request import options
from tests.server.responses import clients
from tests.support.requests import responserequests

F = {"type": "function", "name": "f", "description": "does it", "parameters": {"type": "object"}}
G = {"type": "function", "name": "g"}
CUSTOM = {"type": "custom", "name": "h"}
GROUP = {"type": "namespace", "name": "n", "description": "", "tools": [G | {"name": "k"}]}
WEB = {"type": "web_search"}
FILES = {"type": "file_search"}
ENVIRON = {"HOME": "/"}


def settings(**environ: str) -> Config:
    return configuration.load(ENVIRON | environ)[0]


def read(
    way: Any = options.read,
    settings: Config | None = None,
    headers: list[tuple[str, str]] | None = None,
    **fields: Any,
) -> AnswerOptions:
    """What a request with these fields asks for."""
    body = json.dumps({"model": "m", "input": "hi"} | fields).encode()
    request, ignored = responserequests.parse(body)
    messages = responserequests.messages(request)
    found: AnswerOptions = slices.at_once(
        way(
            request,
            ignored,
            messages,
            Headers(headers or []),
            settings or configuration.load(ENVIRON)[0],
        )
    )
    return found


def refusal(**fields: Any) -> errors.ApiError:
    with pytest.raises(errors.ApiError) as refused:
        read(**fields)
    return refused.value


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "name": name} for name in names]
    return {"type": "allowed_tools", "mode": mode, "tools": [*tools, {"type": "web_search"}]}


@pytest.mark.parametrize("way", [options.read, options.passthrough])
def test_the_smallest_request_asks_for_an_answer(way: Any) -> None:
    assert read(way) == AnswerOptions(
        model="m",
        stream=False,
        include_usage=True,
        n=1,
        output_mode="openai-json",
        most_calls=0,
        messages=(worker.Message("user", (worker.TextPart("hi"),)),),
    )


def test_what_codex_has_is_asked_of_it() -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    found = read(
        stream=True,
        instructions="Be brief.",
        max_output_tokens=10,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}},
        tools=[F, G],
        tool_choice="required",
        parallel_tool_calls=False,
    )
    assert found.stream
    assert [message.role for message in found.messages] == ["developer", "user"]
    assert found.max_bytes == 10 * estimate.BYTES_PER_TOKEN
    assert (found.effort, found.reasoning_summary) == ("low", "auto")
    assert found.output_schema is not None
    assert bytes(found.output_schema) == json.dumps(schema).encode()
    assert [tool.name for tool in found.tools] == ["f", "g"]
    assert found.tools[0].description == "does it"
    assert (found.call_required, found.parallel_calls, found.most_calls) == (True, False, 1)
    assert (found.ignored, found.emulated) == ((), ())


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    text = {"format": {"type": "json_object"}}
    found = read(text=text)
    assert found.messages[-1] == worker.Message(
        "developer", (worker.TextPart(answerform.JSON_INSTRUCTION),)
    )
    assert (found.emulated, found.output_schema) == (("text.format",), None)
    passed = read(options.passthrough, text=text)
    assert (len(passed.messages), passed.emulated) == (1, ())


@pytest.mark.parametrize(
    ("fields", "way", "names"),
    [
        (
            {
                "temperature": 0,
                "top_p": 1,
                "max_tool_calls": 3,
                "service_tier": "turbo",
                "truncation": "auto",
                "text": {"verbosity": "low"},
                "top_k": 3,
            },
            options.read,
            ("top_k", *options.UNFORWARDED, "service_tier"),
        ),
        (
            {
                "temperature": 0,
                "top_p": 1,
                "max_tool_calls": 3,
                "service_tier": "flex",
                "truncation": "auto",
                "text": {"verbosity": "low"},
                "reasoning": {"summary": "auto"},
                "top_k": 3,
            },
            options.passthrough,
            ("top_k", "max_tool_calls", "truncation", "reasoning.summary"),
        ),
        (
            {"service_tier": "auto", "truncation": "disabled", "text": {"verbosity": "medium"}},
            options.read,
            (),
        ),
        ({"service_tier": "priority"}, options.read, ()),
        ({"tools": [FILES, CUSTOM, F]}, options.read, ("tools[0]",)),
        ({"tools": [WEB, F]}, options.passthrough, ("tools[0]",)),
        (
            {"tools": [F, WEB], "tool_choice": allowed("auto", "f")},
            options.passthrough,
            ("tools[1]",),
        ),
        (
            {"input": [{"role": "user", "content": "x"}, {"type": "web_search_call"}]},
            options.passthrough,
            ("input[1]",),
        ),
        (
            {"input": [{"type": "compaction", "encrypted_content": "e"}]},
            options.passthrough,
            ("input[0]",),
        ),
        ({"input": [{"type": "compaction", "encrypted_content": "e"}]}, options.read, ()),
    ],
)
def test_what_is_not_honoured_is_named_as_the_api_names_it(
    fields: dict[str, Any], way: Any, names: tuple[str, ...]
) -> None:
    assert read(way, **fields).ignored == names


def test_tokens_that_codex_cannot_give_are_refused_or_named() -> None:
    included: dict[str, Any] = {
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"]
    }
    assert read(**included).ignored == ("include[1]",)
    error = refusal(top_logprobs=2)
    assert (error.status, error.code, error.param) == (
        400,
        "unsupported_parameter",
        "top_logprobs",
    )


def test_the_names_of_what_is_ignored_are_few() -> None:
    many: Any = {f"field_{index}": index for index in range(20)}
    assert len(read(**many, temperature=1).ignored) == 20


@pytest.mark.parametrize(
    ("choice", "left", "required"),
    [
        (None, ["f", "h", "g", "k"], False),
        ("auto", ["f", "h", "g", "k"], False),
        ("none", [], False),
        ("required", ["f", "h", "g", "k"], True),
        ({"type": "function", "name": "g"}, ["g"], True),
        ({"type": "custom", "name": "h"}, ["h"], True),
        ({"type": "function", "name": "k", "namespace": "n"}, ["k"], True),
        ({"type": "function", "name": "k"}, ["k"], True),
        (allowed("auto", "g", "f"), ["f", "g"], False),
        (allowed("required", "f"), ["f"], True),
        (allowed("auto"), [], False),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "custom", "name": "h"}, {"type": "namespace", "name": "n"}],
            },
            ["h", "k"],
            False,
        ),
    ],
)
def test_the_choice_leaves_what_it_allows(choice: Any, left: list[str], required: bool) -> None:
    found = read(tools=[F, CUSTOM, G, GROUP], tool_choice=choice)
    assert ([tool.name for tool in found.tools], found.call_required) == (left, required)


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"tools": [F, G, F]}, "tools[2].name", "'f' is declared twice"),
        ({"tools": [F], "tool_choice": allowed("auto", "x")}, "tool_choice", "no function 'x'"),
        (
            {
                "tools": [F, GROUP],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "namespace", "name": "m"}],
                },
            },
            "tool_choice",
            "no tool of a namespace 'm' is in 'tools'",
        ),
        (
            {"tools": [GROUP], "tool_choice": {"type": "function", "name": "k", "namespace": "m"}},
            "tool_choice",
            "no function 'm__k' is in 'tools'",
        ),
        ({"tools": [WEB], "tool_choice": "required"}, "tool_choice", "no function of 'tools'"),
        ({"tool_choice": "required"}, "tool_choice", "no function of 'tools' to call"),
        (
            {"tools": [F], "tool_choice": allowed("required")},
            "tool_choice",
            "no function of 'tools' to call",
        ),
    ],
)
def test_what_nothing_can_satisfy_is_refused(
    fields: dict[str, Any], param: str, said: str
) -> None:
    error = refusal(**fields)
    assert (error.status, error.code, error.param) == (400, "invalid_request", param)
    assert said in error.message


def test_the_operator_decides_where_the_client_does_not() -> None:
    one = settings(PROXY_ENABLE_PARALLEL_TOOL_CALLS="false", PROXY_TOOL_BLOCK_MAX="7")
    assert read(settings=one).most_calls == 1
    assert read(settings=one, parallel_tool_calls=True).most_calls == 7
    xml = settings(PROXY_RESPONSES_OUTPUT_MODE="obsidian-xml")
    assert read(settings=xml).output_mode == "obsidian-xml"
    header = [("x-proxy-output-mode", "openai-json")]
    assert read(settings=xml, headers=header).output_mode == "openai-json"
    chat = settings(PROXY_OUTPUT_MODE="obsidian-xml")
    assert read(settings=chat).output_mode == "openai-json"


@pytest.mark.parametrize("client", clients.REQUESTS)
@pytest.mark.parametrize("way", [options.read, options.passthrough])
def test_every_client_is_understood(way: Any, client: str) -> None:
    """What clients send by themselves asks for something, and loses none of its functions."""
    fields = clients.REQUESTS[client]
    given = json.dumps({"model": "m"} | fields).encode()
    request, ignored = responserequests.parse(given)
    call = msgspec.Raw(json.dumps(clients.CALL | {"id": "fc_1"}).encode())
    messages = responserequests.messages(request, {"fc_1": call})
    settings = configuration.load(ENVIRON)[0]
    found = slices.at_once(way(request, ignored, messages, Headers([]), settings))
    entries = [tool.get("tools", [tool]) for tool in fields.get("tools") or ()]
    kinds = ("function", "custom")
    offered = [tool["name"] for tool in itertools.chain(*entries) if tool["type"] in kinds]
    assert [tool.name for tool in found.tools] == offered
    in_words = "text.format" in found.emulated
    assert found.messages[-1].role in (("developer",) if in_words else ("user", "tool"))
    if client == "codex":
        assert ignored == ("client_metadata", "tools[8]")
        wished = found.search.paths if found.search is not None else ()
        assert ("tools[5]" in wished) != ("tools[5]" in found.ignored)
        assert found.emulated == ("tools[4].format",)
