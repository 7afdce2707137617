"""Spans of a real server, as a collector receives them, and what one that is away costs."""

import contextlib
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from server.process import exits
from server.tracing import tracing
from tests.support.client import httpclient, httpwire
from tests.support.process import machinetime, serving
from tests.support.providers import collector, scripted, upstreams
from tests.support.providers.collector import Collector

KEY: Final = "sk-client-1234567890"
LOGIN: Final = "collectorLogin0123456789"
WORD: Final = "Rumpelstilzchen"
"""Stands in prompts, answers, names of tools and stop sequences: it may be in no span."""

SOON: Final = {"OTEL_BSP_SCHEDULE_DELAY": "20"}

Json = dict[str, Any]


class Place(NamedTuple):
    server: serving.Serve
    upstream: upstreams.Hosted
    spans: Collector


@contextlib.contextmanager
def staged(spans: Collector, **environ: str) -> Iterator[Place]:
    """A server that exports to a collector, in front of an upstream."""
    settings = {
        "PROXY_ENABLE_TRACING": "true",
        "PROXY_API_KEY": KEY,
        "OTEL_EXPORTER_OTLP_ENDPOINT": spans.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{LOGIN}",
        **SOON,
        **environ,
    }
    with upstreams.Hosted() as upstream:
        settings["PROXY_UPSTREAM_URL"] = upstream.url
        with serving.running("--worker", "upstream", data_dir=None, **settings) as server:
            yield Place(server, upstream, spans)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    environ = {"OTEL_SERVICE_NAME": "edge", "OTEL_RESOURCE_ATTRIBUTES": "team=red"}
    with Collector() as spans, staged(spans, **environ) as staging:
        yield staging


class Parent(NamedTuple):
    """A client's place in a trace."""

    trace_id: str
    span_id: str

    def header(self, flags: str = "01") -> str:
        return f"00-{self.trace_id}-{self.span_id}-{flags}"


def parent() -> Parent:
    return Parent(secrets.token_hex(16), secrets.token_hex(8))


def begin(
    server: serving.Serve, path: str, body: Json, key: str = KEY, **headers: str
) -> httpclient.Exchange:
    given = {
        "content-type": "application/json",
        "authorization": f"Bearer {key}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    data = httpwire.request("POST", path, json.dumps(body).encode(), given)
    return httpclient.Exchange(httpclient.connect(server.base), data)


def ask(
    server: serving.Serve, path: str, body: Json, key: str = KEY, **headers: str
) -> httpwire.Response:
    with begin(server, path, body, key, **headers) as exchange:
        return exchange.response()


def chat(place: Place, prompt: str, of: Parent, **fields: Any) -> httpwire.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], **fields}
    return ask(place.server, "/v1/chat/completions", body, traceparent=of.header())


def told(request: upstreams.Request) -> tuple[str, str, str]:
    """Trace, parent and flags that an upstream was told."""
    version, trace_id, span_id, flags = request.headers["traceparent"].split("-")
    assert version == "00"
    return trace_id, span_id, flags


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_is_two_spans_in_the_clients_trace_and_the_upstream_is_told_of_the_second(
    place: Place, streamed: bool
) -> None:
    prompt, client = place.upstream.prompt(upstreams.PLAIN), parent()
    response = chat(place, prompt, client, stream=streamed, temperature=0.5, max_tokens=99)
    assert response.status == 200
    spans = place.spans.of_trace(client.trace_id, 2)
    request, answer = spans["SERVER"], spans["CLIENT"]
    assert (request.parent_id, answer.parent_id) == (client.span_id, request.span_id)
    asked = place.upstream.request_for(prompt)
    assert told(asked) == (client.trace_id, answer.span_id, "01")
    assert request.name == "POST /v1/chat/completions"
    assert request.start_us <= answer.start_us < answer.end_us <= request.end_us
    assert not (request.failed or answer.failed or request.events or answer.events)
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["turntape.key"] == "PROXY_API_KEY"
    header = float(dict(response.headers)["x-turntape-overhead-ms"])
    assert abs(request.attributes["turntape.overhead_ms"] - header) < 0.01
    assert answer.name == "chat m"
    assert answer.attributes.pop("gen_ai.response.time_to_first_chunk") > 0
    assert answer.attributes.pop("gen_ai.response.id").startswith("chatcmpl-")
    record = place.server.terminals()[-1]
    assert answer.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "server.address": "127.0.0.1",
        "server.port": place.upstream.server.port,
        "turntape.stream_id": record["stream"],
        "turntape.kind": "completed",
        "turntape.usage.source": "counted",
        **({"gen_ai.request.stream": True} if streamed else {}),
    }


def test_the_environment_says_whose_spans_they_are(place: Place) -> None:
    client = parent()
    chat(place, place.upstream.prompt(upstreams.PLAIN), client)
    resource = place.spans.of_trace(client.trace_id, 2)["SERVER"].resource
    assert (resource["service.name"], resource["team"]) == ("edge", "red")
    assert resource["service.version"]
    assert place.spans.headers[-1]["authorization"] == f"Bearer {LOGIN}"


def test_a_request_without_a_trace_begins_one(place: Place) -> None:
    prompt = place.upstream.prompt(upstreams.PLAIN)
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    ask(place.server, "/v1/chat/completions", body)
    trace_id, span_id, _ = told(place.upstream.request_for(prompt))
    spans = place.spans.of_trace(trace_id, 2)
    assert spans["CLIENT"].span_id == span_id
    assert spans["SERVER"].parent_id == ""


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        "garbage",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"ff-{'1' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'1' * 16}-01-more",
        f"00-{'A' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'1' * 16}-01" + "x" * 5000,
    ],
)
def test_a_malformed_parent_is_as_if_it_had_not_come(place: Place, header: str) -> None:
    prompt = place.upstream.prompt(upstreams.PLAIN)
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    response = ask(place.server, "/v1/chat/completions", body, traceparent=header)
    assert response.status == 200
    trace_id, _, flags = told(place.upstream.request_for(prompt))
    assert (trace_id != "1" * 32, flags) == (True, "01")
    assert place.spans.of_trace(trace_id, 2)["SERVER"].parent_id == ""


def test_two_parents_are_none(place: Place) -> None:
    prompt, client = place.upstream.prompt(upstreams.PLAIN), parent()
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]}).encode()
    twice = f"traceparent: {client.header()}\r\n" * 2
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n{twice}\r\n"
    )
    connection = httpclient.connect(place.server.base)
    with httpclient.Exchange(connection, head.encode() + body) as exchange:
        assert exchange.response().status == 200
    assert told(place.upstream.request_for(prompt))[0] != client.trace_id


def test_the_state_of_a_trace_is_passed_on_and_exported(place: Place) -> None:
    prompt, client = place.upstream.prompt(upstreams.PLAIN), parent()
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    given = {"traceparent": client.header(), "tracestate": "congo=t61rcWkgMzE,rojo=1"}
    ask(place.server, "/v1/chat/completions", body, **given)
    asked = place.upstream.request_for(prompt)
    assert asked.headers["tracestate"] == "congo=t61rcWkgMzE,rojo=1"
    for span in place.spans.of_trace(client.trace_id, 2).values():
        assert span.state == "congo=t61rcWkgMzE,rojo=1"


def test_a_client_that_does_not_record_has_no_span_and_its_trace_goes_on(place: Place) -> None:
    prompt, client = place.upstream.prompt(upstreams.PLAIN), parent()
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    ask(place.server, "/v1/chat/completions", body, traceparent=client.header("00"))
    trace_id, span_id, flags = told(place.upstream.request_for(prompt))
    assert (trace_id, flags) == (client.trace_id, "00")
    assert span_id != client.span_id
    after = parent()
    chat(place, place.upstream.prompt(upstreams.PLAIN), after)
    place.spans.of_trace(after.trace_id, 2)  # those that are exported come in order
    assert [span for span in place.spans.spans if span.trace_id == client.trace_id] == []


def test_a_refused_request_is_a_span_with_its_error(place: Place) -> None:
    client = parent()
    refused = ask(place.server, "/v1/chat/completions", {"n": 1}, traceparent=client.header())
    assert refused.status == 400
    (span,) = place.spans.of_trace(client.trace_id, 1).values()
    assert span.attributes["error.type"] == "invalid_request"
    assert span.attributes["turntape.kind"] == "rejected"
    assert (span.kind, span.failed) == ("SERVER", False)
    stranger = parent()
    assert ask(place.server, "/x", {}, "wrong", traceparent=stranger.header()).status == 404
    (span,) = place.spans.of_trace(stranger.trace_id, 1).values()
    assert (span.name, span.attributes["error.type"]) == ("POST", "not_found")


def test_a_client_that_leaves_is_a_span(place: Place) -> None:
    gate, client = scripted.Gate(), parent()
    first = upstreams.framed(upstreams.sse(upstreams.chunk("Hello")))
    prompt = place.upstream.prompt([upstreams.STREAM_HEAD, first, gate])
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], "stream": True}
    with begin(
        place.server, "/v1/chat/completions", body, traceparent=client.header()
    ) as exchange:
        exchange.until(b"Hello")
    spans = place.spans.of_trace(client.trace_id, 2)
    gate.open()
    for span in spans.values():
        assert span.attributes["error.type"] == "client_gone"
        assert span.attributes["turntape.kind"] == "client_gone"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure_of_the_upstream_is_an_error(place: Place, streamed: bool) -> None:
    prompt = place.upstream.prompt(upstreams.response(400, {"error": {"message": WORD}}))
    client = parent()
    chat(place, prompt, client, stream=streamed)
    spans = place.spans.of_trace(client.trace_id, 2)
    assert spans["CLIENT"].failed
    assert spans["CLIENT"].attributes["turntape.kind"] == "upstream_error"
    assert spans["CLIENT"].attributes["error.type"] == spans["SERVER"].attributes["error.type"]


def test_several_choices_are_one_span(place: Place) -> None:
    chunks = [
        upstreams.chunk(
            choices=[{"index": index, "delta": {"content": "a"}, "finish_reason": "stop"}]
        )
        for index in range(2)
    ]
    prompt, client = place.upstream.prompt(upstreams.stream(*chunks)), parent()
    assert chat(place, prompt, client, n=2).status == 200
    answer = place.spans.of_trace(client.trace_id, 2)["CLIENT"]
    assert answer.attributes["gen_ai.request.choice.count"] == 2
    assert answer.attributes["gen_ai.response.finish_reasons"] == ["stop", "stop"]


def test_a_response_is_a_span_and_one_in_the_background_ends_after_its_request(
    place: Place,
) -> None:
    client = parent()
    body = {"model": "m", "input": place.upstream.prompt(upstreams.PLAIN)}
    ask(place.server, "/v1/responses", body, traceparent=client.header())
    spans = place.spans.of_trace(client.trace_id, 2)
    assert spans["SERVER"].attributes["http.route"] == "/v1/responses"
    assert spans["CLIENT"].attributes["gen_ai.response.id"].startswith("resp_")

    gate, later = scripted.Gate(), parent()
    prompt = place.upstream.prompt([gate, *upstreams.PLAIN])
    kept: Json = {"model": "m", "background": True, "input": prompt}
    ask(place.server, "/v1/responses", kept, traceparent=later.header())
    (request,) = place.spans.of_trace(later.trace_id, 1).values()
    assert request.kind == "SERVER"
    place.upstream.request_for(prompt)
    gate.open()
    answer = place.spans.of_trace(later.trace_id, 2)["CLIENT"]
    assert answer.parent_id == request.span_id
    assert answer.end_us > request.end_us
    assert answer.attributes["turntape.kind"] == "completed"


def test_probes_and_scrapes_are_no_spans(place: Place) -> None:
    for path in ("/healthz", "/readyz", "/livez", "/metrics"):
        assert httpclient.ask(place.server.base, "GET", path).status == 200
    client = parent()
    chat(place, place.upstream.prompt(upstreams.PLAIN), client)
    place.spans.of_trace(client.trace_id, 2)
    assert not any("z" in span.name or "metrics" in span.name for span in place.spans.spans)


def test_no_word_and_no_secret_is_in_any_span(place: Place) -> None:
    called = upstreams.chunk(
        choices=[
            {
                "index": 0,
                "delta": {
                    "content": WORD,
                    "reasoning_content": WORD,
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": WORD, "arguments": json.dumps({"a": WORD})},
                        }
                    ],
                },
                "finish_reason": None,
            }
        ]
    )
    for answer in (
        upstreams.stream(called, upstreams.chunk(finish="tool_calls")),
        upstreams.response(400, {"error": {"message": WORD, "code": f"{WORD} said"}}),
        upstreams.stream(upstreams.chunk(WORD, finish=f"{WORD} was here")),
    ):
        prompt, client = place.upstream.prompt(answer), parent()
        body = {
            "model": f"a {WORD} model",
            "messages": [
                {"role": "system", "content": WORD},
                {"role": "user", "content": prompt},
            ],
            "stop": [WORD],
            "user": WORD,
            "metadata": {"a": WORD},
            "tools": [{"type": "function", "function": {"name": WORD, "parameters": {}}}],
        }
        path = f"/v1/chat/completions?{WORD}"
        ask(place.server, path, body, traceparent=client.header())
        place.spans.of_trace(client.trace_id, 2)
    client = parent()
    ask(place.server, f"/a {WORD}".replace(" ", "%20"), {}, traceparent=client.header())
    place.spans.of_trace(client.trace_id, 1)
    everything = b"".join(place.spans.bodies)
    for secret in (WORD, KEY, LOGIN):
        assert secret.encode() not in everything, secret
    assert LOGIN not in json.dumps(place.server.lines)


def test_the_older_names_are_a_setting() -> None:
    with Collector() as spans, staged(spans, PROXY_TRACING_CONVENTIONS="1.28.0") as place:
        client = parent()
        chat(place, place.upstream.prompt(upstreams.PLAIN), client, seed=7, stream=True)
        found = spans.of_trace(client.trace_id, 2)["CLIENT"].attributes
        assert (found["gen_ai.system"], found["gen_ai.openai.request.seed"]) == ("openai", 7)
        assert "gen_ai.provider.name" not in found


def test_the_sampler_of_the_environment_is_asked() -> None:
    environ = {"OTEL_TRACES_SAMPLER": "always_off"}
    with Collector() as spans, staged(spans, **environ) as place:
        prompt, client = place.upstream.prompt(upstreams.PLAIN), parent()
        chat(place, prompt, client)
        assert told(place.upstream.request_for(prompt))[2] == "00"
        assert place.server.stop() == 0
        assert spans.spans == []


def counted(server: serving.Serve) -> dict[str, float]:
    """What became of spans, as a scrape has it."""
    body = httpclient.ask(server.base, "GET", "/metrics").body.decode()
    lines = (line for line in body.splitlines() if line.startswith("turntape_spans_total{"))
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


def said(server: serving.Serve, event: str) -> list[Json]:
    return [line for line in server.lines if line.get("event") == event]


@pytest.mark.long(usual=("hangs",))
@pytest.mark.slow
@pytest.mark.parametrize("case", ["absent", "refuses", "hangs"])
def test_a_receiver_that_takes_nothing_costs_answers_nothing(case: str) -> None:
    away = Collector(status=403, hangs=case == "hangs")
    with away, contextlib.ExitStack() as stack:
        endpoint = collector.nobody() if case == "absent" else away.url
        queue = {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
        limit = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1" if case != "hangs" else "60"}
        to = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        place = stack.enter_context(staged(away, **to, **queue, **limit))
        prompt = place.upstream.prompt(upstreams.PLAIN)
        if case == "hangs":
            chat(place, prompt, parent())
            away.wait(lambda: away.bodies)  # from here on the thread is held
        for _ in range(40):
            assert chat(place, prompt, parent()).status == 200
        outcome = counted(place.server)
        if case == "hangs":
            # 4 are being sent at the most, and 8 wait.
            assert outcome["dropped"] >= 80 - 12, outcome
        lag = place.server.get("/healthz")[1]["loop_lag_ms"]
        assert lag["max"] < 1000 * machinetime.slowness(), lag
        with machinetime.within(tracing.CLOSE_S + 2):
            assert place.server.stop(signal.SIGTERM) == 0
        lines = json.dumps(place.server.lines)
        assert LOGIN not in lines
        assert "localhost" not in lines, "no line of the SDK's own"
        if case == "hangs":
            (line,) = said(place.server, "spans_lost")
            assert line["spans"] >= 8
        else:
            assert len(said(place.server, "spans_not_exported")) == 1


@pytest.mark.slow
def test_a_receiver_that_comes_back_is_sent_what_follows() -> None:
    with Collector(status=403) as spans, staged(spans) as place:
        prompt = place.upstream.prompt(upstreams.PLAIN)
        chat(place, prompt, parent())
        spans.wait(lambda: spans.bodies)
        spans.status = 200
        client = parent()
        chat(place, prompt, client)
        spans.of_trace(client.trace_id, 2)
        assert place.server.stop() == 0
        (again,) = said(place.server, "spans_exported_again")
        assert again["failed"] >= 1


def test_a_stop_sends_what_waits() -> None:
    with Collector() as spans, staged(spans, OTEL_BSP_SCHEDULE_DELAY="3600000") as place:
        client = parent()
        chat(place, place.upstream.prompt(upstreams.PLAIN), client)
        assert spans.spans == []
        assert place.server.stop() == 0
        assert {span.kind for span in spans.spans} == {"SERVER", "CLIENT"}


def test_headers_that_cannot_be_read_are_named_without_their_value() -> None:
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": f"{LOGIN} {LOGIN}"}
    with Collector() as spans, staged(spans, **environ) as place:
        assert place.server.stop() == 0
        (line,) = said(place.server, "sdk_warning")
        assert "eader" in line["said"]
        assert LOGIN not in json.dumps(place.server.lines)


def test_a_server_that_is_told_not_to_makes_no_span() -> None:
    environ = {"OTEL_SDK_DISABLED": "true"}
    with Collector() as spans, staged(spans, **environ) as place:
        prompt = place.upstream.prompt(upstreams.PLAIN)
        chat(place, prompt, parent())
        assert "traceparent" not in place.upstream.request_for(prompt).headers
        assert place.server.stop() == 0
        assert (spans.bodies, len(said(place.server, "tracing_disabled"))) == ([], 1)


@pytest.mark.parametrize(
    "variable", ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"]
)
def test_a_variable_that_cannot_be_used_stops_the_start(variable: str, tmp_path: Path) -> None:
    failed = subprocess.run(
        (sys.executable, "-m", "server", "serve", "--worker", "scripted", "--port", "0"),
        cwd=serving.ROOT,
        env={"PROXY_DATA_DIR": str(tmp_path), "PROXY_ENABLE_TRACING": "true", variable: LOGIN},
        capture_output=True,
        text=True,
        timeout=machinetime.HANG_S,
    )
    assert failed.returncode == exits.USAGE
    assert failed.stderr == "turntape: OTEL_ variables: OpenTelemetry cannot use one of them\n"


def test_a_protocol_that_is_not_spoken_is_said() -> None:
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with Collector() as spans, staged(spans, **environ) as place:
        assert place.server.stop() == 0
        (line,) = said(place.server, "tracing_protocol_unknown")
        assert line["asked"] == "grpc"
