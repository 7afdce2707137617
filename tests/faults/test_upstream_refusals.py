"""Rows 10 to 20: an upstream that refuses, is not there, or says what cannot be read."""

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from machines import events
from tests.faults import expected, observed, scene
from tests.faults.upstreamstage import (
    FINISHED,
    SO_FAR,
    TOLD,
    USAGE,
    WHOLE,
    Staged,
    unreachable,
    upstream,
)
from tests.support.logs import serverlog
from tests.support.process import machinetime
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import DONE, LAST, STREAM_HEAD, chunk, framed, response, sse

REDACTED = "The model provider failed to answer."


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    constants = {"engine.failures.RETRY_BASE_S": 0.04, "engine.upstream.client.ERROR_BODY_S": 0.1}
    with upstream(constants=constants, PROXY_FINISH_GRACE_MS="300") as staged:
        yield staged


def test_row_10_a_429_keeps_its_retry_after(staged: Staged) -> None:
    error = {"error": {"message": "Slow down.", "type": "requests", "param": None, "code": None}}
    answer = response(429, error, "retry-after: 7")
    for got in (staged.streamed(answer), staged.whole(answer)):
        assert (got.status, got.headers["retry-after"]) == (429, "7")
        assert got.error == {
            "message": "Slow down.",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
        staged.survived("upstream_error", "rate_limit_exceeded", got)


def test_row_11_k79_an_errors_own_members_reach_who_asked(staged: Staged) -> None:
    error = {
        "message": "the request exceeds the available context size",
        "code": 400,
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 4096,
        "n_ctx": 2048,
        "metadata": {"raw": "see http://gpu-3.corp:8080/log"},
    }
    answer = response(400, {"error": error})
    for got in (staged.streamed(answer), staged.whole(answer)):
        assert got.status == 400
        assert got.error == {
            "message": error["message"],
            "type": "exceed_context_size_error",
            "param": None,
            "code": None,
            "n_prompt_tokens": 4096,
            "n_ctx": 2048,
            "metadata": {"raw": "see ********"},
        }
        staged.survived("upstream_error", "invalid_request", got)
    late: upstreams.Answer = [TOLD + framed(sse({"error": error})), "stall"]
    told = staged.streamed(late)
    assert told.body.startswith(SO_FAR)
    assert b'"n_ctx":2048' in told.body[len(SO_FAR) :]


def test_row_11_k80_a_message_has_the_url_that_the_client_sent_and_no_other(
    staged: Staged,
) -> None:
    url = "https://pictures.example/a.jpg"
    message = f"Error while downloading {url}. See http://gpu-3.corp:8080/log."
    prompt = staged.source.prompt(response(400, {"error": {"message": message}}))
    asked = {
        "model": "m",
        "messages": [
            {"role": "system", "content": f"The picture is at {url}"},
            {"role": "user", "content": prompt},
        ],
    }
    status, body = staged.stage.server.post(asked)
    assert (status, body["error"]["message"]) == (
        400,
        f"Error while downloading {url}. See ********.",
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
@pytest.mark.parametrize("kind", ["application/json", "text/html", "text/event-stream"])
def test_row_11_a_4xx_is_kept_whatever_its_body_is_labelled(
    staged: Staged, status: int, kind: str
) -> None:
    error = {"error": {"message": "No.", "type": "t", "param": "messages[0]", "code": "c"}}
    prompt = staged.source.prompt(response(status, error, kind=kind))
    answers = staged.stage.ask(prompt, stream=True), staged.stage.ask(prompt)
    for answer in answers:
        assert answer.status == status
        told = {name: answer.error[name] for name in ("message", "param", "code")}
        assert told == {"message": "No.", "param": "messages[0]", "code": "c"}
    staged.survived("upstream_error", "c", *answers)
    assert len(staged.source.requests_for(prompt)) == 2


@pytest.mark.parametrize("stream", [True, False])
def test_row_11_where_a_redirect_leads_is_told_to_the_operator_alone(
    staged: Staged, stream: bool
) -> None:
    location = "location: https://internal-host.example:8443/v2/chat"
    prompt = staged.source.prompt(response(307, b"moved to internal-host.example", location))
    answer = staged.stage.ask(prompt, stream=stream)
    assert (answer.status, answer.error["code"]) == (502, "upstream_redirected")
    assert answer.headers["x-should-retry"] == "false"
    told = answer.raw + repr(answer.headers).encode()
    assert [word for word in (b"internal-host", b"8443", b"127.0.0.1") if word in told] == []
    staged.survived("upstream_error", "upstream_redirected", answer)
    assert len(staged.source.requests_for(prompt)) == 1
    (line,) = [
        line
        for line in staged.stage.server.told("turn_failed")
        if line["req_id"] == answer.request_id
    ]
    assert line["detail"].startswith("307, location: https://internal-host.example:8443/v2/chat")


def test_row_11_a_4xx_without_the_end_of_its_body_is_still_that_4xx(staged: Staged) -> None:
    answer = staged.streamed([upstreams.head(404, "content-length: 99") + b'{"error"', "stall"])
    assert answer.status == 404
    staged.survived("upstream_error", "invalid_request", answer)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_row_12_a_5xx_is_tried_twice_more_and_then_redacted(staged: Staged, status: int) -> None:
    error = {"error": {"message": "db-3.internal is down", "code": "c"}}
    prompt = staged.source.prompt(response(status, error))
    answer = staged.stage.ask(prompt, stream=True)
    assert answer.status == 502
    assert answer.raw == expected.as_json(expected.error_object("upstream_error", REDACTED))
    staged.survived("upstream_error", "upstream_error", answer)
    assert len(staged.source.requests_for(prompt)) == 3
    delays = [
        event.delay_ms
        for event in staged.stage.story(answer)
        if isinstance(event, events.RetryScheduled)
    ]
    assert len(delays) == 2
    assert 20 <= delays[0] <= 40 <= delays[1] <= 80


def test_row_12_an_answer_after_a_5xx_is_the_answer(staged: Staged) -> None:
    prompt = staged.source.prompt(
        response(503, b""), upstreams.stream(chunk("Hello"), chunk(finish="stop"))
    )
    answer = staged.stage.ask(prompt, stream=True)
    assert answer.body == WHOLE + expected.DONE
    staged.survived("completed", None, answer)
    assert len(staged.source.requests_for(prompt)) == 2


Place = contextlib.AbstractContextManager[str]


@contextlib.contextmanager
def nobody(_: Path) -> Iterator[str]:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}/v1"


@contextlib.contextmanager
def no_name(_: Path) -> Iterator[str]:
    """A name that does not exist."""
    yield "http://nobody.invalid/v1"


@contextlib.contextmanager
def black_hole(_: Path) -> Iterator[str]:
    """An address that takes no connection and refuses none."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _number in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}/v1"


@contextlib.contextmanager
def distrusted(directory: Path) -> Iterator[str]:
    """A server whose certificate nobody has vouched for."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    options = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    command = f"openssl req -x509 {options} -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with upstreams.Hosted(context=context) as source:
        yield f"https://localhost:{source.server.port}/v1"


@pytest.mark.long(usual=("refused", "TLS"))
@pytest.mark.parametrize(
    ("place", "status"),
    [(nobody, 502), (no_name, 502), (black_hole, 504), (distrusted, 502)],
    ids=["refused", "no such name", "black hole", "TLS"],
)
def test_row_13_an_upstream_that_cannot_be_reached(
    tmp_path: Path, place: Callable[[Path], Place], status: int
) -> None:
    timeout = {observed.CONNECT_TIMEOUT: "0.4"}
    with place(tmp_path) as url, unreachable(url, **timeout) as stage:
        for stream in (True, False):
            with machinetime.within(0.4 + scene.SECOND):
                answer = stage.ask("x", stream=stream)
            assert (answer.status, answer.error["code"]) == (status, "upstream_unreachable")
            hidden = (b"127.0.0.1", b"localhost", b"nobody", b"Errno", b"certificate")
            assert [word for word in hidden if word in answer.raw] == []
            stage.survived("upstream_error", "upstream_unreachable", answer)


def test_row_14_an_error_as_the_first_event_is_an_http_error(staged: Staged) -> None:
    error = {"error": {"message": "Too many.", "type": "rate_limit_error", "code": None}}
    prompt = staged.source.prompt([STREAM_HEAD + framed(sse(error)), "stall"])
    answers = staged.stage.ask(prompt, stream=True), staged.stage.ask(prompt)
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
        assert answer.error["message"] == "Too many."
    staged.survived("upstream_error", "rate_limit_exceeded", *answers)
    assert len(staged.source.requests_for(prompt)) == 2


@pytest.mark.parametrize("kind", [b"", b"event: error\n"], ids=["unnamed", "named"])
def test_row_15_an_error_after_content_is_one_frame_and_the_end(
    staged: Staged, kind: bytes
) -> None:
    error = sse({"error": {"message": "Out of memory.", "code": "oom"}})
    late = framed(sse(chunk("late", finish="stop")) + DONE)
    frame = expected.error("oom", "Out of memory.")
    staged.breaks([TOLD + framed(kind + error) + late, "stall"], SO_FAR + frame, "oom")


GARBAGE = '{"choices":[{"delta":' + "x" * 2000
UNREADABLE = expected.error(
    "upstream_decode_error", "The provider sent an event that is not JSON."
)


def test_row_16_an_event_that_is_not_json_ends_the_stream_and_is_in_the_log(
    staged: Staged,
) -> None:
    answer: upstreams.Answer = [TOLD + framed(sse(GARBAGE, chunk("late"))), "stall"]
    staged.breaks(answer, SO_FAR + UNREADABLE, "upstream_decode_error")
    got = staged.streamed(answer)
    story = staged.stage.story(got)
    assert story[-3] == events.UpstreamGarbled(GARBAGE[:1024])
    assert isinstance(story[-2], events.TurnFailed)
    assert isinstance(story[-1], events.Terminal)


def test_row_16_a_masked_log_holds_nothing_legible_of_it_and_replays() -> None:
    with upstream(PROXY_EVENT_LOG="masked") as staged:
        answer = staged.streamed([TOLD + framed(sse("{Zanzibar")), "stall"])
        assert answer.body == SO_FAR + UNREADABLE
        staged.survived("upstream_error", "upstream_decode_error", answer)
        assert events.UpstreamGarbled("{********") in staged.stage.story(answer)


def test_row_17_an_upstream_that_dies_ends_every_stream_on_it() -> None:
    """The nearest to a killed worker process: its connections end, all of them at once."""
    with upstream(PROXY_SSE_MAX_CONCURRENCY="5") as dying:
        prompt = dying.source.prompt([TOLD, "stall"])
        streams = [dying.stage.asked(prompt, stream=True) for _ in range(5)]
        for asked in streams:
            asked.until(b'"lo"')
        port = dying.source.server.port
        dying.source.run(dying.source.server.close())
        with machinetime.within(scene.SECOND):
            answers = [asked.answer() for asked in streams]
        refused = dying.stage.ask(prompt, stream=True)
        assert (refused.status, refused.error["code"]) == (502, "upstream_unreachable")
        dying.source.run(dying.source.server.open(port))
        for answer in answers:
            assert answer.body.startswith(SO_FAR)
            assert b"upstream_disconnected" in answer.raw
            assert b"[DONE]" not in answer.raw
        dying.survived("upstream_error", "upstream_disconnected", *answers)


@pytest.mark.parametrize("stream", [True, False])
def test_row_18_a_finish_without_the_last_word_is_an_answer(staged: Staged, stream: bool) -> None:
    """The nearest to a final item without `turn/completed`: a finish, counts and no sentinel."""
    said = framed(sse(chunk(finish="stop"), upstreams.counted(7, 2)))
    prompt = staged.source.prompt([TOLD + said, "stall"])
    answer = staged.stage.ask(prompt, stream=stream, **(USAGE if stream else {}))
    assert answer.status == 200
    (request,) = staged.source.requests_for(prompt)
    machinetime.until(request.left.is_set, scene.SECOND)
    (last,) = staged.survived("completed", None, answer)
    assert last.usage == events.Usage(7, 2)


def test_row_19_an_upstream_that_does_not_mind_is_left_all_the_same(staged: Staged) -> None:
    """The nearest to an ignored interrupt: an upstream that sends on after it was closed."""
    prompt = staged.source.prompt([TOLD, scripted.Repeated(framed(sse(chunk("x"))), 10**9)])
    with staged.stage.asked(prompt, stream=True) as leaving:
        leaving.until(b'"x"')
    machinetime.until(staged.source.request_for(prompt).left.is_set, scene.SECOND)
    staged.survived("client_gone", None, leaving, cause="left")


def test_row_19_a_client_that_leaves_while_the_answer_ends(staged: Staged) -> None:
    """The nearest to an interrupt that races completion: each ends once, one way or the other."""
    kinds = set()
    for number in range(20):
        gate = scripted.Gate()
        prompt = staged.source.prompt([TOLD, gate, FINISHED])
        with staged.stage.asked(prompt, stream=True) as leaving:
            leaving.until(b'"lo"')
            gate.open()
            threading.Event().wait(number * 0.0002)
        staged.stage.released()
        last = serverlog.terminal(staged.stage.server, leaving.request_id)
        kinds.add(last.kind)
    assert kinds <= {"client_gone", "completed"}


@pytest.mark.parametrize("size", [2**16 + 1, 2**20])
def test_row_20_an_event_of_any_size_is_read(staged: Staged, size: int) -> None:
    """The nearest to long lines of a process: long lines of an event stream."""
    text = "x" * size
    answer = staged.streamed([STREAM_HEAD + framed(sse(chunk(text))) + FINISHED])
    assert answer.body == (
        expected.role() + expected.long_content(text) + expected.finish("stop") + expected.DONE
    )
    staged.survived("completed", None, answer)


def test_row_20_a_line_that_is_no_field_is_skipped(staged: Staged) -> None:
    answer = staged.streamed([TOLD + framed(b"what is this\n\n\x00\xff: x\n\n") + FINISHED])
    assert answer.body == SO_FAR + expected.finish("stop") + expected.DONE
    staged.survived("completed", None, answer)


def test_row_20_an_end_within_a_line_is_a_broken_stream(staged: Staged) -> None:
    frame = expected.error(
        "upstream_truncated",
        "The provider's stream ended without saying that the answer is complete.",
    )
    answer = [TOLD + framed(sse(chunk("late"))[:40]), LAST]
    staged.breaks(answer, SO_FAR + frame, "upstream_truncated")
