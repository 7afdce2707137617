"""The page of the Responses API: its examples run, and its table of fields is true."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from server.responses.request import body as responsesbodies
from tests.support.client import httpclient, httpwire
from tests.support.process import nodejs, readme, serving
from tests.tools import redraw

PAGE = redraw.DOCS / "responses.md"

ASKING: dict[str, Any] = {
    "conversation": "conv_1",
    "max_tool_calls": 3,
    "metadata": {"trip": "7"},
    "modalities": ["text", "audio"],
    "prompt": {"id": "pmpt_1"},
    "prompt_cache_key": "cache",
    "safety_identifier": "someone",
    "service_tier": "flex",
    "temperature": 0.5,
    "text": {"verbosity": "low"},
    "top_logprobs": 2,
    "top_p": 0.5,
    "truncation": "auto",
    "user": "someone",
}
"""Values that ask for something, of the fields that are not honoured, or only repeated."""


def rows() -> dict[tuple[str, ...], str]:
    """What becomes of the fields of a request, by the fields."""
    _, _, requests = PAGE.read_text("utf-8").partition("## Requests\n")
    table, _, _ = requests.partition("## Events\n")
    found = re.findall(r"(?m)^\| ([^|]*`.*?) \| (.*) \|$", table)
    return {tuple(re.findall(r"`([\w.]+)`", fields)): becomes for fields, becomes in found}


def fields_that(becomes: str) -> tuple[str, ...]:
    """The fields of the one row that says so."""
    (fields,) = (fields for fields, text in rows().items() if text.startswith(becomes))
    return fields


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Serve]:
    with serving.running("--worker", "scripted") as server:
        yield server


def create(server: serving.Serve, field: str) -> httpwire.Response:
    """Ask for a response, with a field that asks for something."""
    name = field.partition(".")[0]
    body = {"model": "codex-5", "input": "Hello", name: ASKING[name]}
    return httpclient.ask(server.url, "POST", "/responses", body)


def test_the_table_has_every_field_that_is_read() -> None:
    named = {field.partition(".")[0] for fields in rows() for field in fields}
    assert named == set(responsesbodies.Fields.__struct_fields__)


def test_fields_that_are_not_passed_on_are_named(server: serving.Serve) -> None:
    for field in fields_that("checked, not passed on"):
        answer = create(server, field)
        assert (answer.status, answer.headers.get("x-turntape-ignored")) == (200, field)


def test_fields_that_nothing_can_honour_are_refused(server: serving.Serve) -> None:
    for field in fields_that("400 `unsupported_parameter`"):
        answer = create(server, field)
        assert answer.status == 400
        error = json.loads(answer.body)["error"]
        assert (error["code"], error["param"]) == ("unsupported_parameter", field)


def test_fields_that_are_only_repeated_are_in_the_response(server: serving.Serve) -> None:
    for field in fields_that("in the response as they came"):
        answer = create(server, field)
        assert json.loads(answer.body)[field] == ASKING[field]
        assert "x-turntape-ignored" not in answer.headers


def test_the_commands_run_as_they_stand(server: serving.Serve) -> None:
    (stream,) = readme.commands(PAGE)
    streamed = readme.printed(server.base, "bash", "-c", stream)
    assert streamed.startswith("event: response.created\n")
    assert '"type":"response.output_text.delta"' in streamed
    assert streamed.endswith("data: [DONE]\n\n")


def test_the_scripts_run_as_they_stand(server: serving.Serve) -> None:
    turns, functions, background = (
        readme.printed(server.base, sys.executable, "-c", script)
        for script in readme.examples(PAGE, "python")
    )
    first, second = turns.splitlines()
    assert first.startswith("Hello! This answer is a recording.")
    assert second
    assert functions.strip()
    begun, *_, ended = background.splitlines()
    assert begun == "in_progress"
    assert ended.endswith("completed")


@pytest.mark.node
@nodejs.needed
def test_the_node_example_runs_as_it_stands(server: serving.Serve) -> None:
    (script,) = readme.examples(PAGE, "js")
    command = ("node", "--input-type=module", "-e", script)
    said = readme.printed(server.base, *command, directory=nodejs.CLIENT)
    assert said.startswith("Hello! ")
    assert said.endswith("\nended: completed\n")
