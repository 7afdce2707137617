"""The limits of keys, as their holders meet them: on a real server, with real sockets."""

import concurrent.futures
import contextlib
import functools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from server.api import ratelimit
from server.config import keys_file
from server.keys.account import Level, Measure
from tests.server import keyed, plain
from tests.support.client import chatclient, httpclient
from tests.support.client.responsesclient import Client
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import STREAM_HEAD, chunk, framed, sse

HOUR_S = 3600


@pytest.fixture(scope="module")
def source() -> Iterator[upstreams.Hosted]:
    with upstreams.Hosted() as hosted:
        yield hosted


@contextlib.contextmanager
def holding(
    path: Path, source: upstreams.Hosted, *, environ: dict[str, str] | None = None, **keys: Any
) -> Iterator[serving.Serve]:
    """A server with these keys in front of an upstream."""
    keyed.write(path / "keys.json", **keys)
    settings: dict[str, Any] = {
        "PROXY_UPSTREAM_URL": source.url,
        "PROXY_API_KEYS_FILE": str(path / "keys.json"),
        **(environ or {}),
    }
    with serving.running("--worker", "upstream", **settings) as server:
        yield server


def chat(server: serving.Serve, name: str, prompt: str = "Hi", **fields: Any) -> plain.Answer:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], **fields}
    return plain.chat(server, body, **keyed.bearer(name))


def limits(answer: plain.Answer) -> dict[str, str]:
    """What an answer says of limits, without the beginning of the names."""
    start = "x-ratelimit-"
    return {
        name.removeprefix(start): value
        for name, value in answer.headers.items()
        if name.startswith(start)
    }


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0ms"),
        (-1, "0ms"),
        (0.0171, "18ms"),
        (0.9999, "1000ms"),
        (1, "1s"),
        (8.2, "9s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (86_399.5, "24h0m0s"),
        (86_399, "23h59m59s"),
    ],
)
def test_times_are_written_as_the_api_writes_them(seconds: float, written: str) -> None:
    assert ratelimit.duration(seconds) == written


def test_of_two_limits_of_tokens_the_one_with_less_left_is_told() -> None:
    minute = Level(Measure.TOKENS, 100, 20, 30)
    day = Level(Measure.TOKENS_PER_DAY, 1000, 990, 7200)
    expected = [
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "10"),
        ("x-ratelimit-reset-tokens", "2h0m0s"),
    ]
    assert ratelimit.headers([minute, day]) == ratelimit.headers([day, minute]) == expected


def test_requests_are_counted_down_and_refused(tmp_path: Path, source: upstreams.Hosted) -> None:
    keys: dict[str, Any] = {
        "alice": keyed.held("alice", requests=2, window_s=HOUR_S),
        "bob": keyed.held("bob"),
    }
    with holding(tmp_path, source, **keys) as server:
        first = chat(server, "alice")
        assert first.status == 200
        assert limits(first)["limit-requests"] == "2"
        assert limits(first)["remaining-requests"] == "1"
        assert limits(first)["reset-requests"] in ("1h0m0s", "59m59s", "59m58s")
        wrong = chat(server, "alice", n=0)
        assert (wrong.status, limits(wrong)["remaining-requests"]) == (400, "0")
        refused = chat(server, "alice", "never asked", stream=True)
        assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
        assert refused.error["type"] == "rate_limit_error"
        assert "'alice' on requests: Limit 2" in refused.error["message"]
        assert limits(refused)["remaining-requests"] == "0"
        assert 3590 < int(refused.headers["retry-after"]) <= HOUR_S
        assert refused.headers["x-should-retry"] == "false"
        assert source.requests_for("never asked") == []
        assert limits(chat(server, "bob")) == {}
        assert plain.ask(server, "GET", "/v1/models", **keyed.bearer("alice")).status == 200
        assert Client(server, keyed.secret("alice")).create("Hi").problem[0] == 429
    line = next(line for line in server.lines if line.get("code") == "rate_limit_exceeded")
    assert (line["key"], line["status"], line["severity"]) == ("alice", 429, "warning")


def test_a_refused_body_is_not_waited_for(tmp_path: Path, source: upstreams.Hosted) -> None:
    with holding(tmp_path, source, alice=keyed.held("alice", requests=1)) as server:
        assert chat(server, "alice").status == 200
        head = {**keyed.bearer("alice"), "content-type": "application/json"}
        with httpclient.connect(server.base) as connection:
            lines = [f"{name}: {value}\r\n" for name, value in head.items()]
            request = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            data = f"{request}{''.join(lines)}content-length: 1000000\r\n\r\n{{"
            with httpclient.Exchange(connection, data.encode()) as exchange:
                assert exchange.head.status == 429


def test_the_settings_limit_keys_without_limits_of_their_own(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    environ = {
        "PROXY_RATE_LIMIT_ENABLED": "true",
        "PROXY_RATE_LIMIT_MAX": "1",
        "PROXY_RATE_LIMIT_WINDOW_MS": "3600000",
        "PROXY_API_KEY": plain.KEY,
    }
    keys: dict[str, Any] = {"alice": keyed.held("alice", requests=3), "bob": keyed.held("bob")}
    with holding(tmp_path, source, environ=environ, **keys) as server:
        assert limits(chat(server, "alice"))["remaining-requests"] == "2"
        assert limits(chat(server, "bob"))["remaining-requests"] == "0"
        assert chat(server, "bob").status == 429
        own = {"authorization": f"Bearer {plain.KEY}"}
        assert plain.chat(server, **own).status == 200
        refused = plain.chat(server, **own)
        assert refused.status == 429
        assert "'PROXY_API_KEY'" in refused.error["message"]


def test_a_server_without_keys_has_one_window_for_all(source: upstreams.Hosted) -> None:
    with serving.running(
        "--worker",
        "upstream",
        PROXY_UPSTREAM_URL=source.url,
        PROXY_RATE_LIMIT_ENABLED="true",
        PROXY_RATE_LIMIT_MAX="1",
    ) as server:
        assert plain.chat(server).status == 200
        refused = plain.chat(server)
        assert (refused.status, refused.headers["x-ratelimit-limit-requests"]) == (429, "1")
        assert "Rate limit reached on requests" in refused.error["message"]
        assert "x-should-retry" not in refused.headers


def is_completed(client: Client, response_id: str) -> bool:
    return bool(client.get(response_id).body["status"] == "completed")


@pytest.mark.parametrize("field", ["tokens", "tokens_per_day"])
@pytest.mark.parametrize("api", ["chat", "stream", "responses", "background"])
def test_tokens_are_charged_when_an_answer_has_ended(
    tmp_path: Path, source: upstreams.Hosted, field: str, api: str
) -> None:
    key = keyed.held("alice", **{field: 18, "window_s": HOUR_S})
    with holding(tmp_path, source, alice=key) as server:
        client = Client(server, keyed.secret("alice"))
        for _ in range(2):  # each of 7 and 2 tokens
            if api in ("chat", "stream"):
                answer = chat(server, "alice", stream=api == "stream")
                assert answer.status == 200
                assert b"world" in answer.body
            elif api == "responses":
                client.made("Hi")
            else:
                response = client.create("Hi", background=True).body
                machinetime.until(functools.partial(is_completed, client, response["id"]))
        refused = chat(server, "alice")
        assert refused.status == 429
        words = field.replace("_", " ")
        assert f"on {words}: Limit 18, Used 18" in refused.error["message"]
        assert limits(refused)["remaining-tokens"] == "0"


def test_who_leaves_before_the_counts_is_charged_by_estimate(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    gate = scripted.Gate()
    said = "word " * 100
    prompt = source.prompt([STREAM_HEAD, framed(sse(chunk(said))), gate, "close"])
    silent = source.prompt([STREAM_HEAD, gate, "close"])
    with holding(tmp_path, source, alice=keyed.held("alice", tokens=10_000)) as server:
        with chatclient.LiveChat(server, silent, keyed.bearer("alice"), stream=True):
            source.request_for(silent)
        with chatclient.LiveChat(server, prompt, keyed.bearer("alice"), stream=True) as live:
            live.until(b"word")
        machinetime.until(lambda: len(server.terminals()) == 2)
        used = 10_000 - int(limits(chat(server, "alice"))["remaining-tokens"])
        assert 125 <= used < 140  # 500 bytes of answer, and those of the prompt
        gate.open()


ENDINGS = ("completed", "client leaves", "upstream breaks off", "refused by the upstream")


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("ending", ENDINGS)
def test_at_a_limit_of_one_the_second_is_always_refused(
    tmp_path: Path, source: upstreams.Hosted, ending: str, streamed: bool
) -> None:
    gate = scripted.Gate()
    first = [STREAM_HEAD, framed(sse(chunk("Hi")))]
    endings: dict[str, upstreams.Answer] = {
        "completed": [*first, gate, framed(sse(chunk(finish="stop"), "[DONE]")), upstreams.LAST],
        "client leaves": [*first, gate, "close"],
        "upstream breaks off": [*first, gate, "reset"],
        "refused by the upstream": [gate, *upstreams.response(400, {"error": {"message": "No"}})],
    }
    prompt = source.prompt(endings[ending])
    with holding(tmp_path, source, alice=keyed.held("alice", streams=1)) as server:
        live = chatclient.LiveChat(server, prompt, keyed.bearer("alice"), stream=streamed)
        source.request_for(prompt)
        for _ in range(3):
            refused = chat(server, "alice", stream=True)
            assert (refused.status, refused.error["code"]) == (429, "concurrency_exceeded")
            assert "with this API key" in refused.error["message"]
            assert refused.headers["retry-after"] == "1"
            assert Client(server, keyed.secret("alice")).create("Hi").problem[0] == 429
        if ending == "client leaves":
            live.leave()
            machinetime.until(lambda: prompt_ended(server))
        gate.open()
        if ending != "client leaves":
            live.answer() if streamed else live.response_or_part()
            live.leave()
        machinetime.until(lambda: prompt_ended(server))
        assert chat(server, "alice").status == 200


def prompt_ended(server: serving.Serve) -> bool:
    """Whether the stream that was held has ended: it is the only one that was not refused."""
    return any(record.get("code") != "concurrency_exceeded" for record in server.terminals())


def test_a_race_for_one_place_has_one_winner(tmp_path: Path, source: upstreams.Hosted) -> None:
    gate = scripted.Gate()
    prompt = source.prompt(
        [STREAM_HEAD, framed(sse(chunk("Hi"))), gate, framed(upstreams.DONE), upstreams.LAST]
    )
    with (
        holding(tmp_path, source, alice=keyed.held("alice", streams=1)) as server,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        together = threading.Barrier(8)

        def ask() -> int:
            together.wait()
            return chat(server, "alice", prompt, stream=True).status

        asking = [pool.submit(ask) for _ in range(8)]
        machinetime.until(lambda: sum(each.done() for each in asking) == 7)
        gate.open()
        assert sorted(each.result() for each in asking) == [200, *[429] * 7]


def test_choices_that_never_fit_are_refused_for_good(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    with holding(tmp_path, source, alice=keyed.held("alice", streams=2)) as server:
        refused = chat(server, "alice", n=3)
        assert (refused.status, refused.error["param"]) == (400, "n")
        assert "this API key has at most 2" in refused.error["message"]
        assert chat(server, "alice", n=2).status == 200


def test_a_key_sees_and_asks_for_its_own_models_only(tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "alice": keyed.held("alice", models=["codex-5*"]),
        "bob": keyed.held("bob"),
    }
    path = keyed.write(tmp_path / "keys.json", **keys)
    with serving.running(
        "--worker", "scripted", PROXY_SCRIPTED_SPEED="0", PROXY_API_KEYS_FILE=str(path)
    ) as server:

        def listed(**headers: str) -> list[str]:
            answer = plain.ask(server, "GET", "/v1/models", **headers)
            return [model["id"] for model in json.loads(answer.body)["data"]]

        mine = listed(**keyed.bearer("alice"))
        assert mine
        assert all(name.startswith("codex-5") for name in mine)
        assert set(mine) < set(listed(**keyed.bearer("bob")))
        other = next(name for name in listed() if name not in mine)
        own = keyed.bearer("alice")
        assert plain.ask(server, "GET", f"/v1/models/{mine[0]}", **own).status == 200
        hidden = plain.ask(server, "GET", f"/v1/models/{other}", **own)
        absent = plain.ask(server, "GET", "/v1/models/no-such", **own)
        assert (hidden.status, hidden.error["code"]) == (404, "model_not_found")
        assert hidden.error["message"].replace(other, "no-such") == absent.error["message"]
        assert plain.ask(server, "GET", f"/v1/models/{other}", **keyed.bearer("bob")).status == 200
        for name in (other, "no-such"):
            refused = plain.chat(server, {**plain.BODY, "model": name}, **own)
            assert (refused.status, refused.error["code"]) == (404, "model_not_found")
            assert refused.error["param"] == "model"
            assert name in refused.error["message"]
            status = Client(server, keyed.secret("alice")).create("Hi", model=name).problem
            assert status == (404, "model_not_found", "model")
        assert plain.chat(server, {**plain.BODY, "model": mine[0]}, **own).status == 200


HOSTILE = ("", "Bearer", "Bearer ", "Basic c2s6", "Bearer sk-tt-alice", "Bearer " + "k" * 8000)


@pytest.mark.parametrize("authorization", HOSTILE)
def test_a_key_that_nobody_holds_opens_nothing(
    tmp_path: Path, source: upstreams.Hosted, authorization: str
) -> None:
    with holding(tmp_path, source, alice=keyed.held("alice")) as server:
        refused = plain.chat(server, authorization=authorization)
        assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
        hashed = keyed.held("alice").hashes[0]
        for key in (hashed, hashed.removeprefix(keys_file.HASH_PREFIX)):
            assert plain.chat(server, authorization=f"Bearer {key}").status == 401


def test_where_every_key_is_revoked_nobody_comes_in(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    with holding(tmp_path, source) as server:
        assert plain.chat(server).status == 401
        assert plain.chat(server, authorization=f"Bearer {plain.KEY}").status == 401


def test_an_expired_key_is_told_so(tmp_path: Path, source: upstreams.Hosted) -> None:
    key = keyed.held("alice", expires="2020-01-01T00:00:00Z")
    with holding(tmp_path, source, alice=key) as server:
        refused = chat(server, "alice")
        assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
        assert refused.error["message"] == "This API key has expired."


def test_no_named_key_is_an_operators(tmp_path: Path, source: upstreams.Hosted) -> None:
    environ = {"PROXY_ADMIN_KEY": "adminKey0123456789admin"}
    with holding(tmp_path, source, environ=environ, alice=keyed.held("alice")) as server:
        refused = plain.ask(server, "GET", "/admin/logging", **keyed.bearer("alice"))
        assert refused.status == 401
        assert chat(server, "alice").status == 200
        assert plain.chat(server, authorization="Bearer adminKey0123456789admin").status == 401


def test_the_sdk_sees_a_rate_limit_error(tmp_path: Path, source: upstreams.Hosted) -> None:
    with holding(tmp_path, source, alice=keyed.held("alice", requests=1)) as server:
        client = openai.OpenAI(
            base_url=server.url, api_key=keyed.secret("alice"), max_retries=0, timeout=60
        )
        messages: list[Any] = [{"role": "user", "content": "Hi"}]
        answer = client.chat.completions.with_raw_response.create(model="m", messages=messages)
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="m", messages=messages)
        error = caught.value
        assert (error.status_code, error.code) == (429, "rate_limit_exceeded")
        assert error.response.headers["x-ratelimit-limit-requests"] == "1"
        assert 0 < int(error.response.headers["retry-after"]) <= 60
        with pytest.raises(openai.RateLimitError):
            client.responses.create(model="m", input="Hi")


def test_the_metrics_have_each_key_by_its_name(tmp_path: Path, source: upstreams.Hosted) -> None:
    keys: dict[str, Any] = {"alice": keyed.held("alice", requests=1), "bob": keyed.held("bob")}
    with holding(tmp_path, source, **keys) as server:
        chat(server, "alice")
        chat(server, "alice")
        scrape = plain.ask(server, "GET", "/metrics").body.decode()
    for sample in (
        'turntape_key_requests_total{key="alice"} 1.0',
        'turntape_key_requests_total{key="bob"} 0.0',
        'turntape_key_tokens_total{key="alice"} 9.0',
        'turntape_key_refusals_total{key="alice",limit="requests"} 1.0',
        'turntape_key_streams_open{key="alice"} 0.0',
    ):
        assert sample in scrape


def test_of_several_keys_each_sees_its_own_usage(tmp_path: Path, source: upstreams.Hosted) -> None:
    environ = {"PROXY_API_KEY": plain.KEY, "PROXY_ADMIN_KEY": "adminKey0123456789admin"}
    with holding(tmp_path, source, environ=environ, alice=keyed.held("alice")) as server:
        own = {"authorization": f"Bearer {plain.KEY}"}
        admin = {"authorization": "Bearer adminKey0123456789admin"}
        assert chat(server, "alice").status == plain.chat(server, **own).status == 200

        def seen(**headers: str) -> set[str]:
            answer = plain.ask(server, "GET", "/v1/usage/raw", **headers)
            assert answer.status == 200
            lines = [json.loads(line) for line in answer.body.splitlines()]
            return {line["key"] for line in lines if line.get("key")}

        assert seen(**keyed.bearer("alice")) == {"alice"}
        assert seen(**own) == {"PROXY_API_KEY"}
        assert seen(**admin) >= {"alice", "PROXY_API_KEY"}
