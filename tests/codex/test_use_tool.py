"""Calls that the model writes into its text, and who is shown what of them."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.codex import toolplay, toolwire
from tests.codex.toolplay import Stage, call, function
from tests.support.logs import serverlog
from tests.support.providers.provider import Request
from tests.support.providers.replies import Answer, Message, Stream

pytestmark = pytest.mark.codex

SEARCH = function("localSearch")

BLOCK = (
    '<use_tool>\n<name>localSearch</name>\n<salientTerms>["tides", "月"]</salientTerms>\n'
    "<query>tides & the moon</query>\n</use_tool>"
)

CANONICAL = """<use_tool>
  <name>localSearch</name>
  <query>tides &amp; the moon</query>
  <salientTerms>[&quot;tides&quot;,&quot;月&quot;]</salientTerms>
</use_tool>"""

CALLED = ("localSearch", {"query": "tides & the moon", "salientTerms": ["tides", "月"]})

NESTED = "<use_tool><name>localSearch</name><use_tool><name>x</name></use_tool>"

TEXTS = {
    "block": f"Looking. {BLOCK}",
    "between": f"A {BLOCK} B {BLOCK} C",
    "other": BLOCK.replace("localSearch", "webSearch"),
    "nested": f"A {NESTED} B",
    "unclosed": "A <use_tool><name>localSearch</name> and nothing more",
    "malformed": "A <use_tool>no name</use_tool> B",
    "only markup": "a < b, <use_toolbox> and </use_tool>",
}
"""Answers, by the user's message."""

NATIVE = call(1, '{"query": "tides & the moon", "salientTerms": ["tides", "月"]}', "localSearch")

COPILOT: dict[str, dict[str, str]] = {
    "the client's word": {"x-proxy-output-mode": "obsidian-xml"},
    "its word in capitals": {"x-proxy-output-mode": "Obsidian-XML"},
    "a user agent": {"user-agent": "Mozilla/5.0 obsidian/1.8.9 Electron/34.3.0"},
    "a trace": {"x-copilot-trace-id": "1"},
    "a title": {"http-referer": "https://obsidiancopilot.com", "x-title": "Obsidian Copilot"},
}
"""Headers by which a client is taken for Obsidian Copilot."""

XML = COPILOT["the client's word"]

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["body", "stream"])


def pieces(text: str, size: int) -> tuple[str, ...]:
    """A text in deltas of so many code points."""
    return tuple(text[at : at + size] for at in range(0, len(text), size))


def answer(request: Request) -> Answer:
    """A text by the user's message: `block/3` is in deltas of three code points."""
    name, _, size = request.prompt.partition("/")
    if name.endswith("native"):
        return Stream((Message(("Looking. ",)), NATIVE))
    text = TEXTS[name.rpartition(">")[2]]
    return Stream((Message(pieces(text, int(size or len(text)))),))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with toolplay.stage(answer) as stage:
        yield stage


@pytest.fixture(scope="module")
def obsidian() -> Iterator[Stage]:
    """A server for Obsidian alone."""
    with toolplay.stage(answer, PROXY_OUTPUT_MODE="obsidian-xml") as stage:
        yield stage


def ask(stage: Stage, prompt: str, headers: Any = None, **fields: Any) -> toolwire.Told:
    told = toolwire.ask(stage.server, prompt, headers, **fields)
    assert serverlog.recorded(stage.server, told.answer).kind == "completed"
    return told


def assert_xml(told: toolwire.Told) -> None:
    """Whether a block is a call and, as content, its canonical form."""
    assert told.text == f"Looking. {CANONICAL}"
    assert told.calls == [CALLED]
    assert told.finish_reason == "tool_calls"


def assert_json(told: toolwire.Told) -> None:
    """Whether a block is a call and nothing else."""
    assert told.text == "Looking. "
    assert told.calls == [CALLED]
    assert told.finish_reason == "tool_calls"


def assert_verbatim(told: toolwire.Told, text: str) -> None:
    """Whether nothing is a call."""
    assert told.text == text
    assert told.calls == []
    assert told.finish_reason == "stop"


@STREAM
@pytest.mark.parametrize("who", COPILOT)
def test_obsidian_copilot_reads_calls_in_the_text(stage: Stage, who: str, stream: bool) -> None:
    assert_xml(ask(stage, "block", COPILOT[who], stream=stream))


@STREAM
def test_its_prompt_tells_obsidian_copilot(stage: Stage, stream: bool) -> None:
    assert_xml(ask(stage, "<saved_memories>block", stream=stream))


@STREAM
def test_the_operator_says_what_clients_read(obsidian: Stage, stream: bool) -> None:
    assert_xml(ask(obsidian, "block", stream=stream))
    json_wanted = {"x-proxy-output-mode": "openai-json"}
    assert_json(ask(obsidian, "block", json_wanted, tools=[SEARCH], stream=stream))


@pytest.mark.parametrize("size", [1, 2, 7, 13, 64])
@STREAM
def test_no_split_changes_what_a_block_is(stage: Stage, size: int, stream: bool) -> None:
    assert_xml(ask(stage, f"block/{size}", XML, stream=stream))
    assert_json(ask(stage, f"block/{size}", tools=[SEARCH], stream=stream))


@STREAM
def test_a_block_by_an_undeclared_name_is_text(stage: Stage, stream: bool) -> None:
    assert_verbatim(ask(stage, "other/3", tools=[SEARCH], stream=stream), TEXTS["other"])
    assert_verbatim(ask(stage, "block/3", stream=stream), TEXTS["block"])
    without = ask(stage, "block/3", tools=[SEARCH], tool_choice="none", stream=stream)
    assert_verbatim(without, TEXTS["block"])


@STREAM
def test_in_xml_a_block_is_a_call_whatever_was_declared(stage: Stage, stream: bool) -> None:
    told = ask(stage, "other/3", XML, stream=stream)
    assert told.calls == [("webSearch", CALLED[1])]
    assert told.finish_reason == "tool_calls"


@pytest.fixture(scope="module")
def tailed() -> Iterator[Stage]:
    """A server that lets through what comes behind the last call."""
    with toolplay.stage(answer, PROXY_SUPPRESS_TAIL_AFTER_TOOLS="false") as stage:
        yield stage


@STREAM
def test_text_around_blocks_stays_where_it_is(stage: Stage, tailed: Stage, stream: bool) -> None:
    told = ask(tailed, "between/5", XML, stream=stream)
    assert told.text == f"A {CANONICAL} B {CANONICAL} C"
    told = ask(stage, "between/5", XML, stream=stream)
    assert told.text == f"A {CANONICAL} B {CANONICAL}"
    assert told.calls == [CALLED, CALLED]
    told = ask(stage, "between/5", tools=[SEARCH], stream=stream)
    assert told.text == "A  B  C"
    assert told.calls == [CALLED, CALLED]


@STREAM
@pytest.mark.parametrize("name", ["unclosed", "malformed", "only markup"])
def test_what_is_no_block_is_text(stage: Stage, name: str, stream: bool) -> None:
    assert_verbatim(ask(stage, f"{name}/4", XML, stream=stream), TEXTS[name])
    assert_verbatim(ask(stage, f"{name}/4", tools=[SEARCH], stream=stream), TEXTS[name])


@STREAM
def test_of_nested_blocks_the_inner_is_one(tailed: Stage, stream: bool) -> None:
    told = ask(tailed, "nested/4", XML, stream=stream)
    inner = "<use_tool>\n  <name>x</name>\n</use_tool>"
    assert told.text == f"A <use_tool><name>localSearch</name>{inner} B"
    assert told.calls == [("x", {})]


@STREAM
def test_a_call_of_the_models_own_is_shown_in_either_form(stage: Stage, stream: bool) -> None:
    assert_json(ask(stage, "native", tools=[SEARCH], stream=stream))
    assert_xml(ask(stage, "native", XML, tools=[SEARCH], stream=stream))


def test_an_xml_chunk_follows_its_call(stage: Stage) -> None:
    told = ask(stage, "block/3", XML, stream=True)
    assert toolwire.outline(told) == [
        "role",
        "content",
        "tool_calls",
        "content",
        "finish",
        "usage",
        "done",
    ]
    told = ask(stage, "block/3", tools=[SEARCH], stream=True)
    assert toolwire.outline(told) == ["role", "content", "tool_calls", "finish", "usage", "done"]


def test_every_call_has_an_id_of_its_own(stage: Stage) -> None:
    told = ask(stage, "between", XML, stream=True)
    ids = [call["id"] for call in told.message["tool_calls"]]
    assert len(set(ids)) == 2
    assert all(call_id.startswith("call_") for call_id in ids)


@pytest.mark.parametrize("mode", ["", "xml", "obsidian-xml, openai-json"])
def test_a_mode_that_does_not_exist_is_refused(stage: Stage, mode: str) -> None:
    told = toolwire.ask(stage.server, "block", {"x-proxy-output-mode": mode})
    assert told.answer.status == 400
    assert told.answer.error["param"] == "x-proxy-output-mode"
