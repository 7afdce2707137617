"""A scrape and the log say the same of every request, ending by ending."""

import collections
import subprocess
from collections.abc import Iterator
from shutil import which
from typing import Any, Final

import prometheus_client.parser
import pytest

from machines.stream import finish
from server.http import errors
from server.metrics import fault, labels
from tests.server.plain import BODY, ask, chat
from tests.support.client import httpclient
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import Stage, chunk, counted, framed, sse

CHAT: Final = "/v1/chat/completions"
MODEL: Final = "upstream-model"
HELLO: Final = upstreams.STREAM_HEAD + framed(sse(chunk("Hello")))
CALL: Final = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": "{}"},
}
TOOL: Final = {"type": "function", "function": {"name": "look"}}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""Samples by their name and their labels."""


def said(code: str, status: int) -> upstreams.Answer:
    """A refusal of the upstream's."""
    return upstreams.response(status, {"error": {"message": "No.", "code": code}})


ANSWERS: Final[dict[str, tuple[upstreams.Answer, dict[str, Any]]]] = {
    "completed": (upstreams.PLAIN, {}),
    "own word": (
        upstreams.stream(chunk("Hello"), chunk(finish="end_turn"), counted(3, 1)),
        {},
    ),
    "made-up word": (upstreams.stream(chunk("Hello"), chunk(finish="fini-4711")), {}),
    "length": (upstreams.stream(chunk("Hello"), chunk(finish="length"), counted(9, 4)), {}),
    "call": (
        upstreams.stream(
            chunk(choices=[{"index": 0, "delta": {"tool_calls": [CALL]}, "finish_reason": None}]),
            chunk(finish="tool_calls"),
        ),
        {"tools": [TOOL]},
    ),
    "empty": (upstreams.stream(), {}),
    "broken off": ([HELLO, "close"], {}),
    "failed": (said("server_error", 500), {}),
    "refused": (said("context_length_exceeded", 400), {}),
    "refused in words of its own": (said("no credit on 4711", 402), {}),
    "refused behind its head": (
        upstreams.stream(
            chunk("Hello"),
            {"error": {"message": "No.", "code": "blocked", "type": "invalid_request_error"}},
        ),
        {},
    ),
    "idle": ([HELLO, scripted.Gate()], {}),
}
"""Answers of an upstream, and what is asked for beside the prompt."""


def play(stage: Stage) -> None:
    """Ask for every ending."""
    server = stage.server
    for answer, fields in ANSWERS.values():
        for stream in (True, False):
            body = request(stage, answer, stream=stream, **fields)
            with httpclient.begin(server.url, "POST", "/chat/completions", body) as asked:
                asked.response_or_part()
    leaving = request(stage, [HELLO, scripted.Gate()], stream=True)
    with httpclient.begin(server.url, "POST", "/chat/completions", leaving) as asked:
        asked.until(b"Hello")
        asked.leave()
    chat(server, request(stage, upstreams.PLAIN, model="a name of a client's"))
    for refused in ({"model": 1}, b"{", {**BODY, "n": 0}):
        chat(server, refused)
    ask(server, "GET", "/nowhere")
    ask(server, "BREW", CHAT)


def request(stage: Stage, *answers: upstreams.Answer, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": stage.upstream.prompt(*answers)}]
    return {"model": MODEL, "messages": messages, **fields}


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Samples, serving.Serve]]:
    """A scrape of a server that has been asked for every ending, and the server."""
    settings = {
        "PROXY_STREAM_IDLE_TIMEOUT_MS": "600",
        "PROXY_NONSTREAM_TRUNCATE_AFTER_MS": "300",
    }
    with upstreams.stage([upstreams.PLAIN], **settings) as stage:
        play(stage)
        wanted = 2 * len(ANSWERS) + 2
        machinetime.until(lambda: len(stage.server.terminals()) == wanted)
        yield scraped(stage.server), stage.server


def scraped(server: serving.Serve) -> Samples:
    body = ask(server, "GET", "/metrics").body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in prometheus_client.parser.text_string_to_metric_families(body)
        for sample in metric.samples
    }


@pytest.mark.prometheus
@pytest.mark.skipif(which("promtool") is None, reason="needs promtool, of Debian's prometheus")
def test_promtool_finds_nothing_to_say(played: tuple[Samples, serving.Serve]) -> None:
    said = subprocess.run(
        ("promtool", "check", "metrics"),
        input=ask(played[1], "GET", "/metrics").body,
        capture_output=True,
        check=False,
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")


def told(played: tuple[Samples, serving.Serve], name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric that are not 0: values of labels, in the order of their names."""
    return {
        tuple(value for _, value in each): number
        for (found, each), number in played[0].items()
        if found == name and number
    }


def terminals(played: tuple[Samples, serving.Serve]) -> list[dict[str, Any]]:
    """The terminal records, each with the model that its stream was opened for."""
    records = played[1].records()
    models = {each["stream"]: each["model"] for each in records if each["event"] == "opened"}
    return [
        {**each, "model": model_label(models[each["stream"]])}
        for each in records
        if each["event"] == "terminal"
    ]


def rejected(played: tuple[Samples, serving.Serve]) -> list[dict[str, Any]]:
    return [each for each in played[1].records() if each["event"] == "request_rejected"]


def model_label(name: str) -> str:
    return name if name in (MODEL, "whole") else "other"


def code_label(code: str) -> str:
    return code if code in errors.CASES else "other"


def test_there_is_every_ending_that_an_upstream_can_bring_about(
    played: tuple[Samples, serving.Serve],
) -> None:
    kinds = {each["kind"] for each in terminals(played)}
    assert kinds == {
        *("completed", "truncated", "empty", "upstream_error", "timeout", "client_gone"),
    }


def test_ends_of_streams(played: tuple[Samples, serving.Serve]) -> None:
    expected = collections.Counter(
        (each["kind"], each["model"], CHAT) for each in terminals(played)
    )
    assert told(played, "turntape_streams_total") == expected
    assert expected["completed", "other", CHAT] == 1
    assert told(played, "turntape_clients_gone_total") == {("left",): 1}


def test_errors(played: tuple[Samples, serving.Serve]) -> None:
    records = played[1].records()
    own = {
        each["stream"]: each["status"]
        for each in records
        if each["event"] == "turn_failed" and each.get("status") is not None
    }
    expected = collections.Counter(
        (code_label(each["code"]), fault.fault_of(each["code"]).value) for each in rejected(played)
    )
    for each in terminals(played):
        if "code" in each:
            status = own.get(each["stream"], each["status"])
            whose = fault.fault_of_stream(each["code"], status, "upstream")
            expected[code_label(each["code"]), whose.value] += 1
    assert told(played, "turntape_errors_total") == expected
    assert expected["other", "provider"] == expected["other", "client"] == 2


def test_finish_reasons(played: tuple[Samples, serving.Serve]) -> None:
    expected: collections.Counter[tuple[str, str]] = collections.Counter()
    for each in terminals(played):
        reasons = each.get("finish_reasons", ())
        words = each.get("finish_words", (None,) * len(reasons))
        for reason, word in zip(reasons, words, strict=True):
            known = "" if word is None else word if word in finish.WORDS else labels.OTHER
            expected[reason or "none", known] += 1
    assert told(played, "turntape_finish_reasons_total") == expected
    assert expected["stop", "end_turn"] == expected["stop", "other"] == 2


def test_tokens(played: tuple[Samples, serving.Serve]) -> None:
    tokens: collections.Counter[tuple[str, str, str]] = collections.Counter()
    sources: collections.Counter[tuple[str]] = collections.Counter()
    names = {"input": "prompt_tokens", "output": "completion_tokens"}
    for each in terminals(played):
        usage = each.get("usage")
        source = each.get("usage_source", "counted") if usage else "unknown"
        sources[source,] += 1
        for kind, name in names.items():
            tokens[each["model"], source, kind] += usage[name] if usage else 0
    assert told(played, "turntape_tokens_total") == +tokens
    assert told(played, "turntape_usage_streams_total") == sources
    assert sources["counted",] > 2 < sources["unknown",]


@pytest.mark.parametrize(
    ("metric", "member"),
    [
        ("turntape_time_to_first_token_seconds", "ttft_us"),
        ("turntape_time_to_first_content_seconds", "first_content_us"),
        ("turntape_stream_duration_seconds", "duration_us"),
        ("turntape_stream_longest_gap_seconds", "longest_gap_us"),
    ],
)
def test_times(played: tuple[Samples, serving.Serve], metric: str, member: str) -> None:
    default = None if "first" in metric else 0
    seen = [each.get(member, default) for each in terminals(played)]
    times = [value for value in seen if value is not None]
    assert sum(told(played, f"{metric}_count").values()) == len(times)
    assert sum(told(played, f"{metric}_sum").values()) == pytest.approx(sum(times) / 1e6)
    below = sum(value <= 10_000 for value in times)
    buckets = told(played, f"{metric}_bucket").items()
    assert sum(count for key, count in buckets if key[0] == "0.01") == below


def test_calls_frames_and_bytes(played: tuple[Samples, serving.Serve]) -> None:
    ended = terminals(played)
    calls = sum(each.get("tool_calls", 0) for each in ended)
    assert told(played, "turntape_stream_tool_calls_sum") == {(): calls}
    assert told(played, "turntape_stream_tool_calls_count") == {(): len(ended)}
    frames = sum(each.get("frames", 0) for each in ended)
    assert told(played, "turntape_stream_frames_total") == {(CHAT,): frames}
    assert calls == 2 < frames


def test_requests(played: tuple[Samples, serving.Serve]) -> None:
    """The records of streams have no method and no route; their number is that of the requests."""
    found = told(played, "turntape_http_requests_total")
    refused = collections.Counter(
        (
            code_label(each["code"]),
            each["method"] if each["method"] in labels.METHODS else labels.OTHER,
            each["route"] if each.get("route") else labels.OTHER,
            labels.status(each["status"]),
        )
        for each in rejected(played)
    )
    assert {key: found[key] for key in refused} == refused
    asked = sum(count for key, count in found.items() if key[2] == CHAT)
    of_chat = sum(count for key, count in refused.items() if key[2] == CHAT)
    assert asked - of_chat == len(terminals(played))


def test_a_response_in_the_background_is_counted_when_it_has_ended() -> None:
    gate = scripted.Gate()
    rest = framed(sse(chunk(finish="stop"), counted(3, 1)) + upstreams.DONE) + upstreams.LAST
    with upstreams.stage([[HELLO, gate, rest]]) as stage:
        body = {"model": MODEL, "input": "Hello", "background": True}
        made = ask(stage.server, "POST", "/v1/responses", body, content_type="application/json")
        assert made.status == 200
        before = told((scraped(stage.server), stage.server), "turntape_streams_total")
        gate.open()
        machinetime.until(lambda: bool(stage.server.terminals()))
        behind = scraped(stage.server), stage.server
    assert before == {}
    assert told(behind, "turntape_streams_total") == {("completed", MODEL, "/v1/responses"): 1}
    requests = told(behind, "turntape_http_requests_total")
    assert requests["", "POST", "/v1/responses", "2xx"] == 1
    assert told(behind, "turntape_usage_streams_total") == {("counted",): 1}
