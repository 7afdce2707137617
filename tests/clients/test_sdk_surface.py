"""Every method of the official Python SDK is called, and gets what the table of the page says."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.clients import scenes
from tests.support.process import serving
from tests.tools import sdksurface

pytestmark = pytest.mark.slow  # more than 350 requests, each a method of the SDK

WAITS = (
    *("poll", "upload_file_chunked", "wait_for_processing", "upload_and_poll", "create_and_poll"),
    *("files.prepare", "files.prepare_directory", "files.upload", "artifacts.for_result"),
)
"""Methods that ask by way of others, which are called by themselves."""

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

FILES = ("file", "image", "audio_sample", "data", "recording", "video")
"""Arguments that are files."""

CREATE: Any = {"model": "text-short", "input": "Hello", "store": True}

GIVEN: dict[str, dict[str, Any]] = {
    "chat.completions.create": {
        "model": "text-short",
        "messages": [{"role": "user", "content": "Hello"}],
    },
    "completions.create": {"model": "text-short", "prompt": "Hello"},
    "models.retrieve": {"model": "text-short"},
    "responses.create": CREATE,
    "responses.parse": CREATE,
    "responses.input_tokens.count": {"model": "text-short", "input": "Hello you"},
    "responses.compact": {"model": "text-short", "input": "Hello"},
}
"""The arguments of what answers; of all others, whatever their signature takes."""


@pytest.fixture(scope="module")
def client() -> Iterator[OpenAI]:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        made = scenes.options(server) | {"_strict_response_validation": False}
        with OpenAI(**made, admin_api_key="unused", websocket_base_url="ws://unused") as client:
            yield client


def something(name: str) -> Any:
    """A value for an argument."""
    return ("a.txt", b"a") if name in FILES else "x"


def arguments(method: Callable[..., Any], response_id: str) -> dict[str, Any]:
    """Something for each argument that a method needs."""
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.default is inspect.Parameter.empty and parameter.kind in NAMED:
            found[name] = something(name)
    return found | ({"response_id": response_id} if "response_id" in found else {})


def call(method: Callable[..., Any], given: dict[str, Any]) -> Any:
    """Call a method; where its signature does not say what it needs, its complaint does."""
    try:
        return method(**given)
    except TypeError as error:
        more = set(re.findall(r"'(\w+)'", str(error))) - {"data"}
        return method(**{name: something(name) for name in more} | given)


def outcome(method: Callable[..., Any], given: dict[str, Any]) -> str:
    """What a call comes to: the status and the code of a refusal, else nothing."""
    try:
        answer = call(method, given)
        if isinstance(answer, openai.Stream) or hasattr(answer, "__next__"):
            list(answer)
    except openai.APIStatusError as refused:
        assert refused.type == "invalid_request_error"
        return f"{refused.status_code} {refused.code}"
    return ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_method_that_is_not_here_is_a_404_that_says_so(client: OpenAI) -> None:
    asked = 0
    for name, method in sdksurface.methods(client):
        if sdksurface.alias(name) in sdksurface.OFFERED or name in sdksurface.LOCAL:
            continue
        if name.endswith((*WAITS, "connect", "stream")):
            continue
        with pytest.raises(openai.NotFoundError) as refused:
            call(method, arguments(method, "x"))
        assert refused.value.code == "not_found", name
        assert "offers no such part of the API" in str(refused.value.message), (
            name,
            refused.value,
        )
        asked += 1
    assert asked > 350


def test_a_method_that_is_here_does_what_the_page_says(client: OpenAI) -> None:
    kept = client.responses.create(**CREATE).id
    assert client.responses.retrieve(kept).status == "completed"
    assert len(client.responses.input_items.list(kept).data) == 1
    found = {
        name: outcome(method, GIVEN.get(name) or arguments(method, kept))
        for name, method in sdksurface.methods(client)
        if name in sdksurface.OFFERED and not name.endswith((".stream", ".parse", ".connect"))
    }
    assert found == {
        "chat.completions.create": "",
        "chat.completions.list": "405 method_not_allowed",
        "completions.create": "",
        "models.list": "",
        "models.retrieve": "",
        "models.delete": "405 method_not_allowed",
        "responses.create": "",
        "responses.cancel": "400 None",  # it was not made in the background
        "responses.compact": "400 unsupported_operation",
        "responses.delete": "",
        "responses.retrieve": "404 response_not_found",  # it was deleted just before
        "responses.input_items.list": "404 response_not_found",
        "responses.input_tokens.count": "",
    }


def test_a_stream_and_a_parsed_answer_are_whole(client: OpenAI) -> None:
    messages: Any = GIVEN["chat.completions.create"]["messages"]
    with client.chat.completions.stream(model="text-short", messages=messages) as chunks:
        assert chunks.get_final_completion().choices[0].finish_reason == "stop"
    parsed = client.chat.completions.parse(model="text-short", messages=messages)
    assert parsed.choices[0].finish_reason == "stop"
    with client.responses.stream(model="text-short", input="Hello") as events:
        assert events.get_final_response().status == "completed"
    assert client.responses.parse(model="text-short", input="Hello").status == "completed"


def test_the_size_of_an_input_is_named_an_estimate(client: OpenAI) -> None:
    asked = client.responses.input_tokens.with_raw_response.count(
        model="text-short", input="漢字漢", instructions="Be brief."
    )
    assert asked.headers["x-turntape-usage"] == "estimated"
    counted = asked.parse()
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", 5)  # (9 + 9) / 4
