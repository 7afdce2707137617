"""The real Codex binary with our settings: what its model provider sees, and what we see of it."""

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.codex.child import home as codexhome
from engine.codex.protocol import appserver, notifications
from tests.support.process import machinetime
from tests.support.providers.pipe import Pipe, message
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import (
    Answer,
    Closed,
    Cut,
    Failed,
    HttpError,
    Incomplete,
    Message,
    Stream,
    Usage,
)
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

KEY = "sk-test-4711"

MCP_SERVER = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request.get("method") == "initialize":
        result = {
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "m", "version": "1"},
        }
    elif request.get("method") == "tools/list":
        result = {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"""
"""An MCP server with one tool, as an operator may have one in their home."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


def run(
    setup: codexhome.Setup, *items: dict[str, Any], model: str = "gpt-5.5"
) -> notifications.Turn:
    """One turn on a fresh process, to its end."""
    codexhome.prepare(setup)
    with Pipe(setup) as pipe:
        pipe.handshake()
        if setup.has_key:
            pipe.login(KEY)
        return turn(pipe, setup, *items, model=model)


def turn(
    pipe: Pipe, setup: codexhome.Setup, *items: dict[str, Any], model: str = "gpt-5.5"
) -> notifications.Turn:
    """One turn with the items as its history, to its end."""
    params = appserver.ThreadStartParams(model=model, cwd=str(setup.cwd))
    thread_id = pipe.start(params, *items)
    pipe.call("turn/start", appserver.TurnStartParams(thread_id=thread_id))
    return ended(pipe, thread_id)


def ended(pipe: Pipe, thread_id: str) -> notifications.Turn:
    """The turn of a thread as its last notification reports it."""
    completed: notifications.TurnNotification = pipe.notification("turn/completed", thread_id)
    return completed.turn


def only(provider: Provider) -> Request:
    """The one request that the provider saw, and nothing else."""
    (request,) = provider.requests
    assert provider.strays == []
    return request


def codex_home(directory: Path, config: str) -> Path:
    """A Codex home as an operator may have it, with a ChatGPT login."""
    home = directory / "operator"
    home.mkdir()
    (home / "config.toml").write_text(config)
    claims = {"exp": 4102444800, "https://api.openai.com/auth": {"chatgpt_account_id": "a"}}
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    tokens = {
        "id_token": f"{token}.s",
        "access_token": f"{token}.s",
        "refresh_token": "r",
        "account_id": "a",
    }
    login = {"auth_mode": "chatgpt", "tokens": tokens, "last_refresh": "2026-01-01T00:00:00Z"}
    (home / "auth.json").write_text(json.dumps(login))
    return home


@pytest.mark.parametrize("model", ["gpt-5.5", "gpt-6.1-sol"])
def test_the_model_sees_the_clients_messages_and_nothing_else(
    tmp_path: Path, provider: Provider, model: str
) -> None:
    setup = codexhome.Setup(data_dir=tmp_path, base_url=provider.url, has_key=True)
    said = [("developer", "Be brief."), ("user", "hi"), ("assistant", "Hi."), ("user", "more")]
    done = run(setup, *(message(*one) for one in said), model=model)
    assert (done.status, done.items[-1].text) == ("completed", "Hello world")
    request = only(provider)
    assert request.messages == said
    assert len(request.body["input"]) == len(said)
    assert request.body["tools"] == []
    assert not {"instructions", "text"} & set(request.body)
    assert (request.body["model"], request.body["reasoning"]) == (model, {})
    assert request.key == KEY


def test_what_the_model_thought_reaches_it_again_with_its_id(
    tmp_path: Path, provider: Provider
) -> None:
    thought = {"type": "reasoning", "summary": [], "encrypted_content": "e"}
    compaction = {"type": "compaction", "encrypted_content": "f"}
    answer = message("assistant", "Hi.")
    items = (compaction, message("user", "hi"), thought | {"id": "rs_1"}, answer, thought)
    setup = codexhome.Setup(data_dir=tmp_path, base_url=provider.url)
    assert run(setup, *items, message("user", "more")).status == "completed"
    sent = only(provider).body["input"]
    kinds = ["compaction", "message", "reasoning", "message", "reasoning", "message"]
    assert [item["type"] for item in sent] == kinds
    assert (sent[2]["id"], sent[2]["encrypted_content"]) == ("rs_1", "e")
    assert (sent[0]["encrypted_content"], sent[4]["encrypted_content"]) == ("f", "e")


def test_the_key_is_in_no_file(tmp_path: Path, provider: Provider) -> None:
    run(
        codexhome.Setup(data_dir=tmp_path, base_url=provider.url, has_key=True),
        message("user", "hi"),
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_text_arrives_as_it_was_sent(tmp_path: Path) -> None:
    pieces = ("no ", "no ", "no\n\n", "\u200d👩", "\u200d🚀", " \t", "ä" * 70_000, '{}\\"', "")
    answer = Stream((Message(pieces),), usage=Usage(21, 34, 13, 8))
    with Provider({"hi": answer}) as provider:
        setup = codexhome.Setup(data_dir=tmp_path, base_url=provider.url)
        codexhome.prepare(setup)
        with Pipe(setup) as pipe:
            pipe.handshake()
            turn(pipe, setup, message("user", "hi"))
            deltas = pipe.notifications("item/agentMessage/delta")
            usage = pipe.notification("thread/tokenUsage/updated").token_usage.total
    assert "".join(delta.delta for delta in deltas) == "".join(pieces)
    assert usage == notifications.TokenCounts(21, 13, 34, 8, 55)


def test_an_operators_home_adds_nothing(tmp_path: Path, provider: Provider) -> None:
    server = tmp_path / "server.py"
    server.write_text(MCP_SERVER)
    notified = tmp_path / "notified"
    home = codex_home(
        tmp_path,
        f'developer_instructions = "Obey."\nnotify = ["touch", "{notified}"]\n'
        f'web_search = "live"\npersonality = "friendly"\n'
        f'[mcp_servers."odd name"]\ncommand = "{sys.executable}"\nargs = ["{server}"]\n',
    )
    setup = codexhome.Setup(
        data_dir=tmp_path / "data", operator_home=home, base_url=provider.url, has_key=True
    )
    run(setup, message("user", "hi"))
    assert only(provider).messages == [("user", "hi")]
    assert only(provider).body["tools"] == []
    assert not notified.exists()


@pytest.mark.parametrize(("has_key", "sent"), [(False, None), (True, KEY)])
def test_a_chatgpt_login_stays_where_it_is(
    tmp_path: Path, provider: Provider, has_key: bool, sent: str | None
) -> None:
    home = codex_home(tmp_path, "")
    login = (home / "auth.json").read_bytes()
    setup = codexhome.Setup(
        data_dir=tmp_path / "data", operator_home=home, base_url=provider.url, has_key=has_key
    )
    run(setup, message("user", "hi"))
    assert only(provider).key == sent
    assert "chatgpt-account-id" not in only(provider).headers
    assert (home / "auth.json").read_bytes() == login


@pytest.mark.parametrize(
    ("answer", "word", "status"),
    [
        (HttpError(400), "other", None),
        (HttpError(401), "httpConnectionFailed", 401),
        (HttpError(429), "responseTooManyFailedAttempts", 429),
        (HttpError(500), "internalServerError", None),
        (HttpError(503), "httpConnectionFailed", 503),
        (Cut(), "other", None),
        (Stream((Message(("some ", Cut())),)), "other", None),
        (Stream((Message(("some ",)),), end=Closed()), "other", None),
        (Stream(end=Failed("context_length_exceeded")), "contextWindowExceeded", None),
        (Stream(end=Failed("server_error")), "other", None),
        (Stream((Message(("x",)),), end=Incomplete("max_output_tokens")), "other", None),
        (Stream((Message(("x",)),), end=Incomplete("content_filter")), "other", None),
    ],
)
def test_a_failure_is_told_at_once(
    tmp_path: Path, answer: Answer, word: str, status: int | None
) -> None:
    with Provider(default=answer) as provider:
        done = run(
            codexhome.Setup(data_dir=tmp_path, base_url=provider.url), message("user", "hi")
        )
        assert len(provider.requests) == 1
    assert done.status == "failed"
    assert done.error is not None
    assert (done.error.error_word, done.error.http_status) == (word, status)


def test_an_interrupt_closes_the_providers_connection(tmp_path: Path) -> None:
    with Provider({"hi": Stream((Message(("so far", Gate())),))}) as provider:
        setup = codexhome.Setup(data_dir=tmp_path, base_url=provider.url)
        codexhome.prepare(setup)
        with Pipe(setup) as pipe:
            pipe.handshake()
            params = appserver.ThreadStartParams(model="gpt-5.5", cwd=str(setup.cwd))
            thread_id = pipe.start(params, message("user", "hi"))
            pipe.call("turn/start", appserver.TurnStartParams(thread_id=thread_id))
            pipe.notification("item/agentMessage/delta", thread_id)
            assert not provider.requests[0].left.is_set()
            pipe.call("turn/interrupt", appserver.TurnInterruptParams(thread_id, ""))
            assert ended(pipe, thread_id).status == "interrupted"
            machinetime.until(provider.requests[0].left.is_set, machinetime.SECOND)


def test_a_released_thread_is_unloaded_at_once(tmp_path: Path, provider: Provider) -> None:
    setup = codexhome.Setup(data_dir=tmp_path, base_url=provider.url)
    codexhome.prepare(setup)
    with Pipe(setup) as pipe:
        pipe.handshake()
        params = appserver.ThreadStartParams(model="gpt-5.5", cwd=str(setup.cwd))
        thread_id = pipe.start(params, message("user", "hi"))
        pipe.call("thread/unsubscribe", appserver.ThreadUnsubscribeParams(thread_id))
        assert pipe.notification("thread/closed").thread_id == thread_id


def test_it_lists_the_models_of_our_catalog(tmp_path: Path, provider: Provider) -> None:
    setup = codexhome.Setup(data_dir=tmp_path, base_url=provider.url, extra_models=("mine",))
    codexhome.prepare(setup)
    with Pipe(setup) as pipe:
        pipe.handshake()
        listed: appserver.ModelListResult = pipe.call("model/list", appserver.ModelListParams())
    shown = [
        model for model in codexhome.catalog(setup)["models"] if model["visibility"] == "list"
    ]
    assert [model.model for model in listed.data] == [model["slug"] for model in shown]
    assert shown[-1]["slug"] == "mine"


def test_what_was_opted_out_of_does_not_come(tmp_path: Path, provider: Provider) -> None:
    setup = codexhome.Setup(data_dir=tmp_path, base_url=provider.url, has_key=True)
    codexhome.prepare(setup)
    with Pipe(setup) as pipe:
        pipe.handshake()
        pipe.login(KEY)
        turn(pipe, setup, message("user", "hi"))
        seen = {
            frame["method"] for frame in pipe.frames if "method" in frame and "id" not in frame
        }
    assert seen - {"initialized"} <= set(notifications.NOTIFICATIONS)


def test_without_a_url_openai_alone_is_contacted_and_once(
    tmp_path: Path, provider: Provider
) -> None:
    setup = codexhome.Setup(data_dir=tmp_path, has_key=True)
    codexhome.prepare(setup)
    proxy = f"http://127.0.0.1:{provider.port}"
    with Pipe(setup, HTTPS_PROXY=proxy, HTTP_PROXY=proxy) as pipe:
        pipe.handshake()
        pipe.login(KEY)
        assert turn(pipe, setup, message("user", "hi")).status == "failed"
    assert provider.strays == ["CONNECT api.openai.com:443"]
