"""Whom an answer's tool calls are shaped for: the header, then the operator, then the client."""

from typing import Any, Literal

import msgspec
import pytest

from machines import tooloptions
from server.config import load as configuration
from server.http import errors
from server.http.exchange import Headers
from tests.support.requests import chatrequests

REFERER = ("http-referer", "https://obsidiancopilot.com")
TITLE = ("x-title", "Obsidian Copilot")
TRACE = ("x-copilot-trace-id", "t-1")


def choose(
    *headers: tuple[str, str],
    contents: tuple[Any, ...] = ("hi",),
    configured: Literal["auto", "openai-json", "obsidian-xml"] = "auto",
    read: Any = chatrequests.read,
) -> tooloptions.OutputMode:
    """The mode of a request with these messages."""
    written = [{"role": "system", "content": content} for content in contents]
    body = msgspec.json.encode({"model": "m", "messages": written})
    loaded, _ = configuration.load({"PROXY_DATA_DIR": "/nowhere"})
    settings = msgspec.structs.replace(loaded, output_mode=configured)
    found: tooloptions.OutputMode = read(body, settings, Headers(headers)).output_mode
    return found


@pytest.mark.parametrize(
    "headers",
    [
        [TRACE],
        [REFERER, TITLE],
        [("user-agent", "Mozilla/5.0 (X11) obsidian/1.8.9 Chrome/132 Electron/34.3.0")],
        [("user-agent", "Obsidian/1.8.9")],
    ],
)
def test_copilot_is_known_by_its_headers(headers: list[tuple[str, str]]) -> None:
    assert choose(*headers) == "obsidian-xml"


@pytest.mark.parametrize(
    "contents",
    [
        ("You are a helper.\n<recent_conversations>\n…",),
        ("hi", '<saved_memories count="2">'),
        ([{"type": "text", "text": "x"}, {"type": "text", "text": "<saved_memories>"}],),
    ],
)
def test_copilot_is_known_by_its_prompt(contents: tuple[Any, ...]) -> None:
    assert choose(contents=contents) == "obsidian-xml"
    assert choose(contents=contents, read=chatrequests.pass_on) == "obsidian-xml"


@pytest.mark.parametrize(
    ("headers", "contents"),
    [
        ([], ("hi", None, [])),
        ([REFERER], ("hi",)),
        ([TITLE], ("hi",)),
        ([("http-referer", "https://other.example"), TITLE], ("hi",)),
        ([REFERER, ("x-title", "Other")], ("hi",)),
        ([("user-agent", "OpenAI/Python 2.1.0")], ("I like obsidian/flint.",)),
        ([], ("my saved_memories, recent_conversations",)),
        ([], ([{"type": "image_url", "image_url": {"url": "data:,<saved_memories"}}],)),
    ],
)
def test_everyone_else_gets_json(
    headers: list[tuple[str, str]], contents: tuple[Any, ...]
) -> None:
    assert choose(*headers, contents=contents) == "openai-json"
    assert choose(*headers, contents=contents, read=chatrequests.pass_on) == "openai-json"


def test_the_operator_is_stronger_than_the_look_of_a_client() -> None:
    assert choose(TRACE, configured="openai-json") == "openai-json"
    assert choose(configured="obsidian-xml") == "obsidian-xml"


@pytest.mark.parametrize("configured", ["auto", "openai-json", "obsidian-xml"])
def test_the_header_is_the_strongest(
    configured: Literal["auto", "openai-json", "obsidian-xml"],
) -> None:
    for mode in ("openai-json", "obsidian-xml"):
        for written in (mode, f" {mode.upper()} "):
            asked = ("x-proxy-output-mode", written)
            assert choose(TRACE, asked, configured=configured) == mode


@pytest.mark.parametrize("written", ["xml", "auto", ""])
def test_a_mode_that_does_not_exist_is_refused(written: str) -> None:
    with pytest.raises(errors.ApiError) as refused:
        choose(("x-proxy-output-mode", written))
    error = refused.value
    assert (error.status, error.code) == (400, "invalid_request")
    assert error.param == "x-proxy-output-mode"
    assert "'x-proxy-output-mode'" in error.message
    assert "openai-json or obsidian-xml" in error.message
