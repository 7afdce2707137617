"""The page of the API: its examples run, and SDKs do with each status what it says."""

import asyncio
import collections
import re
import sys
from collections.abc import Callable

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from engine.codex.turns import verdicts
from machines.stream import finish
from server.http import errors, exchange as http, listener
from tests.support.process import nodejs, readme, serving
from tests.tools import redraw

PAGE = redraw.DOCS / "api.md"

CASES = [
    *((code, case.status) for code, case in errors.CASES.items() if code != "client_gone"),
    *((each.code, status) for status, each in verdicts.BY_STATUS.items() if status == 422),
]
"""Code and status of every error that a client may see."""


def promised() -> dict[int, tuple[str, str]]:
    """What the page says of each status: the class Python raises, and whether it tries again."""
    rows = re.findall(r"(?m)^\| (\d+) \| `([A-Z]\w+)` \| `\w+` \| (.*) \|$", PAGE.read_text())
    return {int(status): (raised, again) for status, raised, again in rows}


class Errors:
    """Answers `/CODE/STATUS/…` with that error, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: collections.Counter[tuple[str, int]] = collections.Counter()

    async def handle(self, exchange: http.Exchange) -> None:
        """Answer one request; the pause before another is cut short."""
        _, code, status, *_ = exchange.request.path.split("/")
        self.asked[code, int(status)] += 1
        headers = (("retry-after-ms", "1"),)
        raise errors.ApiError(code, "Not today.", status=int(status), headers=headers)


async def of_the_sdk() -> dict[tuple[str, int], tuple[str, int]]:
    """The class that the SDK raises for each case, and how often it asked."""
    answers = Errors()
    server = listener.HttpServer(answers.handle, http.Limits())
    host, port = await server.start("127.0.0.1", 0)

    async def ask(code: str, status: int) -> str:
        url = f"http://{host}:{port}/{code}/{status}"
        async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=1) as client:
            with pytest.raises(openai.APIStatusError) as caught:
                await client.models.list()
        assert caught.value.status_code == status
        assert "Not today." in str(caught.value)
        return type(caught.value).__name__

    raised = await asyncio.gather(*(ask(*case) for case in CASES))
    await server.close()
    return {case: (name, answers.asked[case]) for case, name in zip(CASES, raised, strict=True)}


def test_the_sdk_does_with_each_status_what_the_page_says() -> None:
    page = promised()
    for (code, status), (raised, asked) in asyncio.run(of_the_sdk()).items():
        name, again = page[status]
        assert raised == name, code
        tries = 2 if again.startswith("yes") and f"`{code}`" not in again else 1
        assert asked == tries, code


def test_the_page_has_no_status_that_no_error_has() -> None:
    assert set(promised()) == {status for _, status in CASES}


TRANSCRIPTS = {"stop": "text-short", "length": "length", "content_filter": "content-filter"}
"""A recorded stream for each way that an answer without calls may end."""


def outcome(call: Callable[[], object]) -> str:
    """What becomes of a call of the SDK, as the page says it."""
    try:
        call()
    except openai.OpenAIError as error:
        return f"raise `{type(error).__name__}`"
    return "return it"


def verdict(client: openai.OpenAI, transcript: str) -> tuple[str, str]:
    """The reason that a recorded stream ends with, and what the SDK's helpers do with it."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
    completions = client.chat.completions

    def helped_stream() -> None:
        with completions.stream(model=transcript, messages=messages) as stream:
            stream.get_final_completion()

    def helped_body() -> None:
        completions.parse(model=transcript, messages=messages)

    plain = completions.create(model=transcript, messages=messages)
    helped = {outcome(helped_stream), outcome(helped_body)}
    return plain.choices[0].finish_reason, " or ".join(sorted(helped))


def test_the_sdk_does_with_each_finish_reason_what_the_page_says() -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| [^|]+ \| returns it \| (.*) \|$", PAGE.read_text())
    assert [reason for reason, _ in rows] == list(finish.CANONICAL)
    with (
        serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server,
        openai.OpenAI(base_url=server.url, api_key="unused", max_retries=0) as client,
    ):
        for reason, transcript in TRANSCRIPTS.items():
            assert verdict(client, transcript) == (reason, dict(rows)[reason])


def test_the_examples_run_as_they_stand() -> None:
    stream, body, models = readme.commands(PAGE)
    (script,) = readme.examples(PAGE, "python")
    with serving.running("--worker", "scripted") as server:
        streamed = readme.printed(server.base, "bash", "-c", stream)
        assert streamed.endswith("data: [DONE]\n\n")
        assert '"choices":[],"usage":{' in streamed
        assert '"finish_reason":"stop"' in readme.printed(server.base, "bash", "-c", body)
        assert '"id":"codex-5"' in readme.printed(server.base, "bash", "-c", models)
        said = readme.printed(server.base, sys.executable, "-c", script)
        assert said.endswith("\nended: stop\n")


@pytest.mark.node
@nodejs.needed
def test_the_node_example_runs_as_it_stands() -> None:
    (script,) = readme.examples(PAGE, "js")
    with serving.running("--worker", "scripted") as server:
        command = ("node", "--input-type=module", "-e", script)
        assert readme.printed(server.base, *command, directory=nodejs.CLIENT)
