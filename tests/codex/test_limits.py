"""What cuts an answer of the real Codex binary by a setting, and who may share its log."""

import concurrent.futures
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import codexstage
from tests.support.client import chatclient
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider
from tests.support.providers.replies import Held, Message, Stream
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

OPEN = Stream((Message(("so far", Gate())),))
"""Some text and no end."""

STREAMING: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def plan() -> codexstage.Plan:
    return codexstage.Plan()


@pytest.fixture(scope="module")
def provider(plan: codexstage.Plan) -> Iterator[Provider]:
    with Provider(plan) as provider:
        yield provider


@pytest.fixture(scope="module")
def truncating(provider: Provider) -> Iterator[serving.Serve]:
    """A server that cuts whole answers which take too long."""
    with serving.codex(provider.url, PROXY_NONSTREAM_TRUNCATE_AFTER_MS="900") as server:
        yield server
        serverlog.audit(server)


def test_a_whole_answer_that_takes_too_long_is_cut(
    truncating: serving.Serve, provider: Provider, plan: codexstage.Plan
) -> None:
    prompt = plan.prompt(OPEN)
    answer = chatclient.ask(truncating, prompt)
    assert (answer.status, answer.text, answer.finish_reason) == (200, "so far", "length")
    assert answer.headers["x-turntape-usage"] == "estimated"
    machinetime.until(codexstage.asked(provider, prompt).left.is_set, machinetime.SECOND)
    assert serverlog.recorded(truncating, answer).kind == "truncated"


def test_a_stream_is_not_cut_by_the_limit_of_whole_answers(
    truncating: serving.Serve, plan: codexstage.Plan
) -> None:
    slow = Stream((Message(("so far",) * 20),), delay=0.05)
    answer = chatclient.ask(truncating, plan.prompt(slow), **STREAMING)
    assert (answer.text, answer.finish_reason) == ("so far" * 20, "stop")


def test_the_limit_of_a_whole_request(provider: Provider, plan: codexstage.Plan) -> None:
    with serving.codex(provider.url, PROXY_TIMEOUT_MS="500") as server:
        prompts = [plan.prompt(answer) for answer in (Held(Gate()), OPEN, OPEN)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            silent = pool.submit(chatclient.ask, server, prompts[0], **STREAMING)
            streamed = pool.submit(chatclient.ask, server, prompts[1], **STREAMING)
            whole = pool.submit(chatclient.ask, server, prompts[2])
        assert (silent.result().status, whole.result().status) == (504, 504)
        assert streamed.result().outline == ["role", "content", "error"]
        for answer in (silent.result(), streamed.result(), whole.result()):
            assert answer.error["code"] == "request_timeout"
            assert serverlog.recorded(server, answer).kind == "timeout"
        for prompt in prompts:
            machinetime.until(codexstage.asked(provider, prompt).left.is_set, machinetime.SECOND)
        serverlog.audit(server)


def test_a_second_server_on_the_same_log_is_refused(provider: Provider, tmp_path: Path) -> None:
    settings = {"PROXY_CODEX_BASE_URL": provider.url, "PROXY_CODEX_API_KEY": "sk-test"}
    with serving.running(data_dir=tmp_path, **settings) as server:
        second = subprocess.run(
            (sys.executable, "-m", "server", "serve", "--port", "0"),
            cwd=serving.ROOT,
            env={**os.environ, "PROXY_DATA_DIR": str(tmp_path), **settings},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert second.returncode == 1
        assert second.stdout == ""
        (message,) = second.stderr.splitlines()
        assert str(tmp_path / "log") in message
        assert str(server.process.pid) in message
        assert chatclient.ask(server, "hi").text == "Hello world"
        serverlog.audit(server)
