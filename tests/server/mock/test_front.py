"""Scopes of a running mock: who may make them, who answers, what strangers learn."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.mock import running
from tests.support.client import httpclient
from tests.support.process import serving

TRANSCRIPTS = serving.ROOT / "transcripts"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mock() -> Iterator[running.Mock]:
    with running.running(PROXY_ADMIN_KEY=running.ADMIN) as mock:
        yield mock


def test_only_the_operators_key_makes_scopes(mock: running.Mock) -> None:
    assert mock.administer("PUT", "one", {}, "wrong")[0] == 401
    assert mock.administer("GET", "one")[0] == 404
    assert mock.administer("PUT", "one", {})[0] == 200
    assert mock.administer("GET", "one")[1] == {
        "requests": [],
        "misses": [],
        "notes": [],
        "recorded": [],
    }
    assert mock.administer("DELETE", "one")[0] == 200
    gone = mock.ask("x", "one")
    assert gone.status == 404
    assert running.error(gone)["message"] == "There is no scope 'one': its test is over."


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"match": "words"}, "match"),
        ({"fault": "explode"}, "explode: is no fault"),
        ({"on_miss": "record"}, "the mock has no --upstream"),
        ({"more": 1}, "more"),
        ({"transcript": "nope"}, "there is no transcript 'nope'"),
        ({"transcripts": [str(Path(__file__))]}, "test_front.py:1"),
    ],
)
def test_options_that_cannot_be_are_refused(
    mock: running.Mock, body: running.Json, said: str
) -> None:
    status, answer = mock.administer("PUT", "refused", body)
    assert status == 400
    assert said in json.dumps(answer["error"])


def test_scopes_are_apart_from_each_other(mock: running.Mock) -> None:
    mock.make("a", TRANSCRIPTS, match="message")
    mock.make("b", TRANSCRIPTS, match="message", fault="status=503")
    assert mock.ask("Hello", "a", model="codex-5").status == 200
    assert mock.ask("Hello", "b", model="codex-5").status == 503
    assert mock.ask("Nobody asked this", "a").status == 404
    requests = mock.administer("GET", "a")[1]["requests"]
    assert [each["outcome"] for each in requests] == ["recording", "missed"]
    assert requests[0]["recording"] == "transcripts/text-short"
    assert requests[0]["body"]["model"] == "codex-5"
    assert [each["status"] for each in mock.administer("GET", "b")[1]["requests"]] == [503]
    mock.make("b", TRANSCRIPTS, match="message")
    assert mock.ask("Hello", "b", model="codex-5").status == 200


def test_a_miss_is_not_worth_another_try(mock: running.Mock) -> None:
    mock.make("c", TRANSCRIPTS)
    missed = mock.ask("Nobody asked this", "c")
    assert (missed.status, missed.headers["x-should-retry"]) == (404, "false")
    assert running.error(missed)["code"] == "mock_no_recording"
    assert mock.administer("DELETE", "c")[1]["misses"] == [running.error(missed)["message"]]


def test_a_transcript_may_answer_what_nothing_else_does(mock: running.Mock) -> None:
    mock.make("d", transcript="refusal")
    answer = mock.ask("anything", "d", model="gpt-4o")
    assert json.loads(answer.body)["choices"][0]["finish_reason"] == "content_filter"


def test_no_journal_has_a_key(mock: running.Mock) -> None:
    mock.make("e", transcript="text-short")
    secret = "sk-0123456789"
    mock.ask("x", "e", headers={"authorization": f"Bearer {secret}", "x-api-key": secret})
    told = mock.administer("GET", "e")[1]
    assert secret not in json.dumps(told)
    assert told["requests"][0]["headers"]["content-type"] == "application/json"


def test_what_is_no_question_to_a_model_goes_its_usual_way(mock: running.Mock) -> None:
    mock.make("f", TRANSCRIPTS)
    assert httpclient.ask(mock.address, "GET", "/scope/f/v1/models").status == 200
    broken = httpclient.ask(mock.address, "POST", "/scope/f/v1/chat/completions", b"{")
    assert running.error(broken)["code"] == "invalid_json"
    assert [each["outcome"] for each in mock.administer("GET", "f")[1]["requests"]] == [
        "other",
        "other",
    ]


def test_a_page_of_another_host_learns_of_no_recordings(mock: running.Mock) -> None:
    mock.make("g", TRANSCRIPTS)
    refused = mock.ask("Nobody asked this", "g", headers={"host": "evil.example"})
    assert running.error(refused)["code"] == "host_not_allowed"
    assert mock.administer("GET", "g")[1]["misses"] == []


def test_the_command_line_is_a_scope_itself_and_asks_for_the_key() -> None:
    flags = ("--match", "model", "--transcripts", str(TRANSCRIPTS), "--status", "418")
    with running.running(*flags, PROXY_API_KEY="key-of-all-clients-0") as mock:
        assert running.error(mock.ask("x", model="none"))["code"] == "invalid_api_key"
        headers = {"authorization": "Bearer key-of-all-clients-0"}
        assert "near: " in running.error(mock.ask("x", model="none", headers=headers))["message"]
        assert mock.ask("x", model="codex-5", headers=headers).status == 418
        assert mock.administer("GET", "any")[0] == 404
