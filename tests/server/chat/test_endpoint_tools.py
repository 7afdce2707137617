"""What the chat endpoint makes of tools: the worker's turn, the first record, the answer."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import worker
from machines.events import TextDelta, ToolCalled
from machines.tooloptions import ToolOptions
from machines.tools import obsidian
from server import context
from server.http import decoding
from tests.server.answering import END, ask, settings
from tests.support.process import readme
from tests.tools import redraw

pytestmark = pytest.mark.slow

F = {"type": "function", "function": {"name": "f", "description": "F", "parameters": {}}}
G = {"type": "function", "function": {"name": "g"}}
WEB_SEARCH = {"type": "web_search"}

TOOL_F = worker.Tool("f", "F", msgspec.Raw(b"{}"))
TOOL_G = worker.Tool("g")

CALL_A = ToolCalled("call_a", "f", '{"x":1}')
CALL_B = ToolCalled("call_b", "g", "{}")

XML = {"x-proxy-output-mode": "obsidian-xml"}
BLOCK = "<use_tool>\n  <name>f</name>\n  <x>1</x>\n</use_tool>"

OBSIDIAN = "Mozilla/5.0 (X11) obsidian/1.8.9 Chrome/132 Electron/34.3.0"


def tool_options(first: dict[str, Any]) -> ToolOptions:
    """What the first record says of tools."""
    return msgspec.convert(first.get("tools", {}), ToolOptions)


@pytest.mark.parametrize(
    ("fields", "environ", "tools", "required", "parallel"),
    [
        ({}, {}, (), False, True),
        ({"tools": [F, G]}, {}, (TOOL_F, TOOL_G), False, True),
        ({"tools": [F, G], "tool_choice": "none"}, {}, (), False, True),
        ({"tools": [F, G], "tool_choice": "required"}, {}, (TOOL_F, TOOL_G), True, True),
        (
            {"tools": [F, G], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            {},
            (TOOL_G,),
            True,
            True,
        ),
        ({"tools": [G], "parallel_tool_calls": False}, {}, (TOOL_G,), False, False),
        ({"tools": [G]}, {"PROXY_ENABLE_PARALLEL_TOOL_CALLS": "false"}, (TOOL_G,), False, False),
        (
            {"tools": [G], "parallel_tool_calls": True},
            {"PROXY_ENABLE_PARALLEL_TOOL_CALLS": "false"},
            (TOOL_G,),
            False,
            True,
        ),
        ({"functions": [{"name": "g"}]}, {}, (TOOL_G,), False, False),
    ],
)
def test_the_worker_is_asked_with_the_tools_that_may_be_called(
    fields: dict[str, Any],
    environ: dict[str, str],
    tools: tuple[worker.Tool, ...],
    required: bool,
    parallel: bool,
) -> None:
    turn = ask(fields, environ=environ).turn
    assert turn is not None
    assert (turn.tools, turn.call_required, turn.parallel_calls) == (tools, required, parallel)


def test_the_worker_is_told_of_every_earlier_call() -> None:
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "call_b", "type": "custom", "custom": {"name": "c", "input": "x"}},
        ],
    }
    results = [
        {"role": "tool", "tool_call_id": "call_a", "content": "1"},
        {"role": "tool", "tool_call_id": "call_b", "content": "2"},
    ]
    older = {"role": "assistant", "function_call": {"name": "g", "arguments": "{}"}}
    turn = ask({"messages": [{"role": "user", "content": "?"}, called, *results, older]}).turn
    assert turn is not None
    _, calling, first, second, legacy = turn.messages
    assert calling.calls == (worker.Call("call_a", "f", "{}"), worker.Call("call_b", "c", "x"))
    assert (first.call_id, second.call_id) == ("call_a", "call_b")
    assert legacy.calls == (worker.Call("g", "g", "{}"),)


def test_tools_that_are_no_functions_are_named_among_what_is_ignored() -> None:
    answer = ask({"tools": [F, WEB_SEARCH, G, WEB_SEARCH], "seed": 1})
    assert answer.headers["x-turntape-ignored"] == "seed, tools[1], tools[3]"


def test_the_header_of_what_is_ignored_stays_a_header() -> None:
    answer = ask({"tools": [WEB_SEARCH] * 40, "seed": 1})
    names = answer.headers["x-turntape-ignored"].split(", ")
    assert names == ["seed", *(f"tools[{index}]" for index in range(decoding.IGNORED_MAX - 1))]


@pytest.mark.parametrize(
    "fields", [{}, {"tools": []}, {"tools": [F], "tool_choice": "none"}, {"tools": [WEB_SEARCH]}]
)
def test_the_first_record_of_an_answer_without_tools_says_nothing_of_them(
    fields: dict[str, Any],
) -> None:
    first = ask(fields).first
    assert first["event"] == "opened"
    assert "tools" not in first


@pytest.mark.parametrize(
    ("fields", "environ", "options"),
    [
        ({"tools": [F, G]}, {}, ToolOptions(("f", "g"))),
        (
            {},
            {"PROXY_OUTPUT_MODE": "obsidian-xml"},
            ToolOptions(output_mode="obsidian-xml", suppress_tail=True),
        ),
        (
            {},
            {"PROXY_OUTPUT_MODE": "obsidian-xml", "PROXY_SUPPRESS_TAIL_AFTER_TOOLS": "false"},
            ToolOptions(output_mode="obsidian-xml"),
        ),
        ({}, {"PROXY_TOOL_BLOCK_MAX": "3"}, ToolOptions(max_calls=3)),
        ({}, {"PROXY_TOOL_BLOCK_DEDUP": "true"}, ToolOptions(dedup=True)),
        ({}, {"PROXY_TOOL_BLOCK_DELIMITER": "\\n"}, ToolOptions(delimiter="\n")),
        ({}, {"PROXY_SUPPRESS_TAIL_AFTER_TOOLS": "true"}, ToolOptions(suppress_tail=True)),
        ({}, {"PROXY_STOP_AFTER_TOOLS": "true"}, ToolOptions(stop_after="burst")),
        (
            {},
            {"PROXY_STOP_AFTER_TOOLS": "true", "PROXY_STOP_AFTER_TOOLS_MODE": "first"},
            ToolOptions(stop_after="first"),
        ),
        ({}, {"PROXY_STOP_AFTER_TOOLS_MODE": "first"}, ToolOptions()),
        (
            {"tools": [G], "parallel_tool_calls": False},
            {"PROXY_TOOL_BLOCK_MAX": "3"},
            ToolOptions(("g",), max_calls=1),
        ),
        ({"functions": [{"name": "g"}]}, {}, ToolOptions(("g",), legacy=True, max_calls=1)),
    ],
)
def test_the_first_record_says_how_calls_are_treated(
    fields: dict[str, Any], environ: dict[str, str], options: ToolOptions
) -> None:
    assert tool_options(ask(fields, environ=environ).first) == options


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/chat/completions?no_keepalive=1", {}),
        ("/v1/chat/completions", {"x-no-keepalive": "1"}),
        ("/v1/chat/completions", {"user-agent": "Electron/34"}),
        ("/v1/chat/completions", {"user-agent": OBSIDIAN}),
    ],
)
def test_clients_that_fail_on_comments_get_no_counts(path: str, headers: dict[str, str]) -> None:
    fields = {"tools": [F, G], "stream": True}
    answer = ask(fields, CALL_A, *END, headers=headers, path=path)
    assert b'"tool_calls":[' in answer.body
    assert b"x-codex" not in answer.body
    assert not tool_options(answer.first).sse_comments


def test_other_clients_get_counts_before_the_finish() -> None:
    answer = ask({"tools": [F, G], "stream": True}, CALL_A, CALL_B, *END)
    before, counts, truncated, finish, done, rest = answer.body.rsplit(b"\n\n", 5)
    assert before.count(b'"tool_calls":[') == 2
    assert counts == b": x-codex-tool-call-count: 2"
    assert truncated == b": x-codex-tool-call-truncated: false"
    assert b'"finish_reason":"tool_calls"' in finish
    assert (done, rest) == (b"data: [DONE]", b"")


def test_calls_come_as_tool_calls() -> None:
    fields = {"tools": [F, G]}
    message = ask(fields, CALL_A, CALL_B, *END).choice["message"]
    assert message["content"] is None
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["f", "g"]
    first, second = ask({**fields, "stream": True}, CALL_A, CALL_B, *END).deltas
    assert first == {"tool_calls": [{"index": 0, **message["tool_calls"][0]}]}
    assert second == {"tool_calls": [{"index": 1, **message["tool_calls"][1]}]}


def test_a_client_that_takes_one_call_gets_the_first() -> None:
    answer = ask({"tools": [F, G], "parallel_tool_calls": False}, CALL_A, CALL_B, *END)
    (call,) = answer.choice["message"]["tool_calls"]
    assert call["id"] == "call_a"
    assert answer.choice["finish_reason"] == "tool_calls"
    assert answer.headers["x-codex-tool-call-count"] == "1"
    assert answer.headers["x-codex-tool-call-truncated"] == "true"


def test_a_legacy_client_gets_a_function_call() -> None:
    functions = [{"name": "f"}, {"name": "g"}]
    choice = ask({"functions": functions}, CALL_A, CALL_B, *END).choice
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"x":1}'}
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "function_call"
    answer = ask({"functions": functions, "stream": True}, CALL_A, CALL_B, *END)
    assert answer.deltas == [{"function_call": {"name": "f", "arguments": '{"x":1}'}}]


def test_a_client_of_xml_gets_each_call_as_content_too() -> None:
    answer = ask({"tools": [F], "stream": True}, CALL_A, *END, headers=XML)
    call, block = answer.deltas
    assert call["tool_calls"][0]["id"] == "call_a"
    assert block == {"content": BLOCK}
    message = ask({"tools": [F]}, CALL_A, *END, headers=XML).choice["message"]
    assert (message["content"], len(message["tool_calls"])) == (BLOCK, 1)


def test_a_block_in_the_text_is_a_call() -> None:
    written = '<use_tool name="f">{"x": 1}</use_tool>'
    answer = ask({"tools": [F]}, TextDelta(written), *END)
    (call,) = answer.choice["message"]["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": '{"x":1}'}
    assert answer.choice["message"]["content"] is None


def test_a_mode_that_does_not_exist_is_refused() -> None:
    answer = ask({}, headers={"x-proxy-output-mode": "xml"})
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["param"]) == (400, "x-proxy-output-mode")
    assert answer.turn is None


def test_a_choice_that_cannot_be_satisfied_is_refused() -> None:
    answer = ask({"tools": [], "tool_choice": "required"})
    assert (answer.status, json.loads(answer.body)["error"]["param"]) == (400, "tool_choice")
    assert answer.turn is None


def test_an_answer_without_calls_has_no_headers_about_them() -> None:
    answer = ask({"tools": [F]})
    assert answer.choice["message"]["content"] == "Hi"
    assert {name for name in answer.headers if name.startswith("x-codex")} == set()


@pytest.mark.parametrize("mode", ["first", "burst"])
@pytest.mark.parametrize("stream", [True, False])
def test_every_answer_says_that_it_may_be_cut(mode: str, stream: bool) -> None:
    environ = {"PROXY_STOP_AFTER_TOOLS": "true", "PROXY_STOP_AFTER_TOOLS_MODE": mode}
    answer = ask({"stream": stream}, environ=environ)
    assert answer.headers["x-codex-stop-after-tools-mode"] == mode


@pytest.mark.parametrize(
    ("environ", "grace"),
    [
        ({}, 0),
        ({"PROXY_STOP_AFTER_TOOLS": "true"}, 300_000),
        ({"PROXY_STOP_AFTER_TOOLS": "true", "PROXY_STOP_AFTER_TOOLS_GRACE_MS": "20"}, 20_000),
        ({"PROXY_STOP_AFTER_TOOLS": "true", "PROXY_STOP_AFTER_TOOLS_GRACE_MS": "0"}, 1),
        ({"PROXY_STOP_AFTER_TOOLS": "true", "PROXY_STOP_AFTER_TOOLS_MODE": "first"}, 0),
        ({"PROXY_STOP_AFTER_TOOLS_GRACE_MS": "20"}, 0),
    ],
)
def test_only_a_burst_of_calls_has_a_grace(
    tmp_path: Path, environ: dict[str, str], grace: int
) -> None:
    assert context.stream_deadlines(settings(tmp_path, environ)).tool_grace == grace


def shown(language: str) -> list[str]:
    """The examples of the API's page."""
    return readme.examples(redraw.DOCS / "api.md", language)


def plain(stream: str) -> list[str]:
    """The lines of a stream, without what no two of them have in common."""
    return re.sub(r'"chatcmpl-\w+"|"created":\d+', "", stream).split("\n\n")


def test_the_example_of_the_page_is_answered_as_it_shows() -> None:
    request, follow_up = (json.loads(text) for text in shown("json") if '"messages"' in text)
    called = follow_up["messages"][1]["tool_calls"]
    calls = (ToolCalled(call["id"], **call["function"]) for call in called)
    (stream,) = shown("text")
    assert plain(ask(request, *calls, *END).body.decode()) == plain(f"{stream}\n")
    turn = ask(follow_up).turn
    assert turn is not None
    assert [message.call_id for message in turn.messages[2:]] == ["call_oslo", "call_rome"]


def test_the_block_of_obsidians_page_is_canonical() -> None:
    (block,) = readme.examples(redraw.DOCS / "obsidian.md", "xml")
    call = obsidian.read(block.strip())
    assert call is not None
    assert json.loads(call.arguments) == {
        "query": "plans for May",
        "salientTerms": ["plans", "May"],
    }
    assert obsidian.canonical(call.name, call.arguments) == block.strip()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("streaming", [True, False])
def test_more_calls_than_any_answer_has_are_an_error(path: str, streaming: bool) -> None:
    fields = {"tools": [F], "input": "Hi", "stream": streaming}
    if path == "/v1/responses":
        fields["tools"] = [{"type": "function", "name": "f", "parameters": {}}]
    calls = [ToolCalled(f"call_{number}", "f", "{}") for number in range(3)]
    limit = {"PROXY_MAX_TOOL_CALLS": "2"}
    beyond = ask(fields, TextDelta("x"), *calls, *END, path=path, environ=limit)
    assert beyond.status == (200 if streaming else 502)
    assert b"too_many_tool_calls" in beyond.body
    assert not any(end in beyond.body for end in (b'"finish_reason":"', b"response.completed"))
    within = ask(fields, TextDelta("x"), *calls[:2], *END, path=path, environ=limit)
    assert b"too_many_tool_calls" not in within.body
