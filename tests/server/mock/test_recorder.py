"""A provider's answers become recordings, where they ended well and no key is in them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.log import replay
from engine.log.read import segments
from server import renderers
from tests.server.mock import running
from tests.support.client import httpclient
from tests.support.providers import upstreams
from tests.support.providers.scripted import Gate
from tests.support.providers.upstreams import STREAM_HEAD, chunk, framed, response, sse, stream

pytestmark = pytest.mark.slow

KEY = "sk-provider-0123456789"


@pytest.fixture(scope="module")
def source() -> Iterator[upstreams.Hosted]:
    with upstreams.Hosted() as hosted:
        yield hosted


@pytest.fixture(scope="module")
def mock(source: upstreams.Hosted) -> Iterator[running.Mock]:
    flags = ("--upstream", source.url)
    keys = {"PROXY_ADMIN_KEY": running.ADMIN, "PROXY_UPSTREAM_API_KEY": KEY}
    with running.running(*flags, **keys) as mock:
        yield mock


def test_an_answer_is_recorded_and_is_played_without_the_provider(
    mock: running.Mock, source: upstreams.Hosted, tmp_path: Path
) -> None:
    prompt = source.prompt(stream(chunk("Bonjour"), chunk(finish="stop")))
    mock.make("one", tmp_path / "kept", on_miss="record")
    first = mock.ask(prompt, "one", stream=True, headers={"authorization": "Bearer sk-client-01"})
    assert b"Bonjour" in first.body
    told = mock.administer("DELETE", "one")[1]
    (path,) = told["recorded"]
    assert told["requests"][0]["outcome"] == "upstream"
    asked = source.request_for(prompt)
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    data = Path(path).read_bytes()
    assert KEY.encode() not in data
    assert b"sk-client-01" not in data
    run = replay.Replay(renderers.reply)
    run.run(segments.read(Path(path)))
    assert (run.divergence, run.tally.full) == (None, 1)
    mock.make("two", tmp_path / "kept")
    again = mock.ask(prompt, "two", stream=True)
    assert again.status == 200
    assert b"Bonjour" in again.body
    assert len(source.requests_for(prompt)) == 1


def test_passing_through_leaves_nothing_behind(
    mock: running.Mock, source: upstreams.Hosted, tmp_path: Path
) -> None:
    mock.make("three", tmp_path, on_miss="passthrough")
    assert mock.ask(source.prompt(upstreams.PLAIN), "three").status == 200
    assert list(tmp_path.iterdir()) == []


FAULTY: dict[str, tuple[str, str]] = {
    "truncate-after=2": ("Bonjour", "[DONE]"),
    "no-done": ('"finish_reason":"stop"', "[DONE]"),
    "error-after=1": ("mock_fault", "Bonjour"),
}
"""What the client gets of an answer with a fault, and what it does not."""


@pytest.mark.parametrize("on_miss", ["passthrough", "record"])
@pytest.mark.parametrize("fault", FAULTY)
def test_faults_reach_what_the_provider_answers_and_no_recording(
    mock: running.Mock, source: upstreams.Hosted, tmp_path: Path, on_miss: str, fault: str
) -> None:
    got, kept_back = FAULTY[fault]
    prompt = source.prompt(stream(chunk("Bonjour"), chunk(finish="stop")))
    mock.make("faulty", tmp_path, on_miss=on_miss, fault=fault)
    said = mock.ask(prompt, "faulty", stream=True).body.decode()
    assert got in said
    assert kept_back not in said
    assert mock.administer("GET", "faulty")[1]["notes"] == []
    assert len([*tmp_path.iterdir()]) == (on_miss == "record")
    mock.make("faulty", tmp_path, on_miss=on_miss, fault="")
    whole = mock.ask(prompt, "faulty", stream=True).body.decode()
    assert all(part in whole for part in ("Bonjour", '"finish_reason":"stop"', "[DONE]"))


def test_with_a_status_as_its_fault_nobody_is_asked_and_nothing_recorded(
    mock: running.Mock, source: upstreams.Hosted, tmp_path: Path
) -> None:
    prompt = source.prompt(upstreams.PLAIN)
    mock.make("busy", tmp_path, on_miss="record", fault="status=503, times=1")
    assert mock.ask(prompt, "busy").status == 503
    assert source.requests_for(prompt) == []
    assert mock.ask(prompt, "busy").status == 200
    told = mock.administer("DELETE", "busy")[1]
    assert [each["status"] for each in told["requests"]] == [503, 200]
    assert (told["notes"], len(told["recorded"])) == ([], 1)


def test_a_recording_waits_for_the_end_of_what_a_fault_has_cut(
    mock: running.Mock, source: upstreams.Hosted, tmp_path: Path
) -> None:
    gate = Gate()
    rest = stream(chunk("jour"), chunk(finish="stop"))[1:]
    prompt = source.prompt([STREAM_HEAD, framed(sse(chunk("Bon"))), gate, *rest])
    mock.make("cut", tmp_path, on_miss="record", fault="truncate-after=2")
    assert b"Bon" in mock.ask(prompt, "cut", stream=True).body
    gate.open()
    told = mock.administer("DELETE", "cut")[1]
    assert told["notes"] == []
    assert b'"jour"' in Path(told["recorded"][0]).read_bytes()


CASES: dict[str, tuple[upstreams.Answer, str]] = {
    "an outage": (response(503, {"error": {"message": "down"}}), "upstream_error"),
    "a wrong key": (response(401, {"error": {"message": "who?"}}), "upstream_error"),
    "a cut": ([STREAM_HEAD, framed(sse(chunk("Hel"))), "reset"], "upstream_error"),
    "a key in the answer": (stream(chunk(f"It is {KEY} ."), chunk(finish="stop")), "a key"),
}
"""What the provider does, and what the note says."""


@pytest.mark.parametrize("case", CASES)
def test_what_must_not_be_played_for_ever_is_not_recorded(
    mock: running.Mock, source: upstreams.Hosted, tmp_path: Path, case: str
) -> None:
    answer, said = CASES[case]
    mock.make("four", tmp_path, on_miss="record")
    mock.ask(source.prompt(answer), "four")
    told = mock.administer("DELETE", "four")[1]
    assert told["recorded"] == []
    assert list(tmp_path.iterdir()) == []
    assert said in told["notes"][0], told["notes"]


def test_a_refusal_of_the_request_itself_is_recorded(
    mock: running.Mock, source: upstreams.Hosted, tmp_path: Path
) -> None:
    prompt = source.prompt(response(400, {"error": {"message": "too hot", "code": "hot"}}))
    mock.make("five", tmp_path, on_miss="record")
    first = mock.ask(prompt, "five")
    assert len(mock.administer("DELETE", "five")[1]["recorded"]) == 1
    mock.make("five", tmp_path)
    again = mock.ask(prompt, "five")
    assert (again.status, again.body) == (first.status, first.body)
    assert (again.status, running.error(again)["message"]) == (400, "too hot")


def test_a_client_that_leaves_makes_no_recording(
    mock: running.Mock, source: upstreams.Hosted, tmp_path: Path
) -> None:
    prompt = source.prompt([STREAM_HEAD, framed(sse(chunk("Hel"))), "stall"])
    mock.make("six", tmp_path, on_miss="record")
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    with httpclient.begin(
        mock.address, "POST", "/scope/six/v1/chat/completions", body
    ) as exchange:
        exchange.until(b"Hel")
    told = mock.administer("DELETE", "six")[1]
    assert (told["recorded"], list(tmp_path.iterdir())) == ([], [])
    assert "client_gone (left)" in json.dumps(told["notes"])
