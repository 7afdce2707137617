"""The server's own secrets are found wherever somebody repeats them, and nothing else is."""

import json
import urllib.parse
from collections.abc import Callable

import pytest

from engine import failures, redaction, slices, worker
from engine.codex.turns import verdicts
from engine.log.content import keptrequest, mask
from engine.routing import fallback as engine_fallback
from engine.upstream import errors as upstreamerrors
from machines import events, tooloptions
from tests.support.process import growth
from tests.support.requests import chatrequests

KEY = "upKey9876543210upKey99"
ODD = "k/e+y\"with'odd\\signs=="
KNOWN = redaction.Redaction((KEY, ODD, KEY + "-longer", "short"))
KEPT = ("masked", "full")


@pytest.mark.parametrize("secret", [KEY, ODD, KEY + "-longer"])
def test_a_secret_is_hidden_in_every_form_it_may_be_shown_in(secret: str) -> None:
    shown = [secret, urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1]]
    shown += [json.dumps(json.dumps(f"\n{secret}\n")), f"%20{urllib.parse.quote(secret, safe='')}"]
    for form in shown:
        text = KNOWN.hide(f"provided: {form}. Get one.")
        assert redaction.HIDDEN in text
        assert text.startswith("provided: ")
        assert text.endswith(". Get one.")
        assert not set(shown) & set(text.split())
        assert "ey9876" not in text
        assert "odd" not in text
        assert "longer" not in text


@pytest.mark.parametrize("text", ["short", "a shorter word", f"x{KEY}", f"{KEY}x", KEY[:-1], ""])
def test_what_is_no_whole_secret_stays(text: str) -> None:
    assert KNOWN.hide(text) == text
    assert redaction.NONE.hide(text) == text


def test_no_secret_is_cut_and_then_missed() -> None:
    for limit in range(len(KEY) + 4):
        assert KNOWN.start_of(f"a {KEY} b", limit) == f"a {redaction.HIDDEN} b"[:limit]
        data = f"ä {KEY} b".encode()
        assert KEY[:4] not in KNOWN.start_of_bytes(data, limit)
    long = "k" * 5000
    assert redaction.Redaction((long,)).start_of(f"a {long}", 10, "") == "a "


@pytest.mark.parametrize("piece", [KEY, KEY[:-1], "\\", "\\n", "%20", '\\"'])
def test_a_search_takes_linear_time(piece: str) -> None:
    def prepare(times: int) -> Callable[[], object]:
        text = f"{KEY[:-1]} {piece * times}{ODD}"
        return lambda: redaction.Redaction((KEY, ODD)).hide(text)

    growth.check_linear(prepare, 4000)


def test_a_redaction_shows_no_secret() -> None:
    assert repr(KNOWN) == "Redaction(3 secrets)"


BODY = json.dumps(
    {"error": {"message": f"Incorrect API key provided: {KEY}.", "code": KEY, "param": KEY}}
)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
def test_an_upstream_that_repeats_the_key_is_not_passed_on(status: int) -> None:
    found = upstreamerrors.refused(status, BODY.encode(), upstreamerrors.NO_ADVICE, KNOWN)
    assert found.message == "Incorrect API key provided: ********."
    assert KEY not in repr(found)
    assert KEY not in repr(upstreamerrors.reported(json.loads(BODY), KNOWN))
    assert KEY not in repr(verdicts.classify("other", None, BODY, KNOWN))


def test_a_key_at_the_limit_of_a_message_is_not_cut_in_two() -> None:
    for before in range(failures.MESSAGE_CHARACTERS - 30, failures.MESSAGE_CHARACTERS + 2):
        message = "." * before + f" {KEY}"
        body = json.dumps({"error": {"message": message, "code": "." * 110 + " " + KEY}})
        for found in (
            upstreamerrors.refused(400, body.encode(), upstreamerrors.NO_ADVICE, KNOWN),
            verdicts.classify("other", None, body, KNOWN),
        ):
            assert "upKey" not in repr(found)


def test_a_key_that_a_form_is_a_part_of_leaves_no_rest() -> None:
    key = "acme-sk-1234/rest+of://it.example.com=="
    assert failures.safe(f"bad key {key}!", redaction.Redaction((key,))) == "bad key ********!"


def test_a_refusal_that_names_what_a_client_wrote_is_recorded_as_the_client_gets_it() -> None:
    refused = worker.TurnRefused(
        "invalid_request", f"The schema of '{KEY}' is too large.", "tools"
    )
    told = engine_fallback.refusal(refused, 1, KNOWN)
    assert told.message == f"The schema of '{redaction.HIDDEN}' is too large."
    assert mask.keeper(KNOWN)(told) == told


def opened(**fields: object) -> events.Opened:
    usual = {"request_id": "r", "completion_id": "c", "created": 1, "model": "m", "target": "t"}
    return events.Opened(**{**usual, "worker": "w", "hash_key": "00", **fields})  # type: ignore[arg-type]  # any field


@pytest.mark.parametrize(
    "event",
    [
        opened(request_id=KEY),
        opened(model=KEY, target=KEY, effort=KEY),
        opened(stop=(KEY,)),
        opened(tools=tooloptions.ToolOptions(names=("f", KEY))),
        events.TurnFailed("upstream_error", KEY, f"bad {KEY}", param=KEY),
        events.Terminal(
            kind="upstream_error",
            emission_trigger="x",
            status=1,
            finish_words=(None, KEY),
            code=KEY,
        ),
        events.TurnFinished(KEY),
        events.ItemStarted(KEY),
        events.RpcReplied(1, f"no: {KEY}"),
        events.UpstreamGarbled(f"{{{KEY}"),
        events.FallbackTaken(KEY, "w", KEY),
        events.FallbackSkipped(KEY, "w", KEY),
        events.RetryScheduled(1, 1, KEY),
        events.WorkerChanged("w", "exited", {"reason": KEY, "code": 1}),
    ],
)
def test_no_record_of_either_mode_has_a_key(event: events.StreamEvent) -> None:
    assert KEY in repr(event)
    assert KEY not in repr(mask.masker(KNOWN)(event))
    assert KEY not in repr(mask.keeper(KNOWN)(event))


def test_a_replay_is_not_asked_for_what_was_hidden_from_it() -> None:
    by_id = mask.keeper(KNOWN)(opened(request_id=KEY))
    by_model = mask.keeper(KNOWN)(opened(model=KEY))
    by_stop = mask.keeper(KNOWN)(opened(stop=(KEY,)))
    assert isinstance(by_id, events.Opened)
    assert isinstance(by_model, events.Opened)
    assert isinstance(by_stop, events.Opened)
    assert (by_id.content, by_id.hash_key) == ("full", "00")
    assert (by_model.content, by_model.hash_key) == ("full", None)
    assert (by_stop.content, by_stop.hash_key) == ("masked", None)


@pytest.mark.parametrize("content", KEPT)
@pytest.mark.parametrize(
    "body",
    [
        {"model": KEY},
        {"model": "m", KEY: 1},
        {"model": "m", "user": KEY, "metadata": {"x": [f"my {KEY}"]}},
        {"model": "m", "tools": [{"type": "function", "function": {"name": KEY}}]},
        {"model": "m", "messages": [{"role": "tool", "tool_call_id": KEY, "content": KEY}]},
    ],
)
def test_no_request_is_kept_with_a_key(content: str, body: object) -> None:
    members = chatrequests.members(json.dumps(body).encode())
    kept = slices.at_once(keptrequest.keep(members, content, b"k" * 16, KNOWN))  # type: ignore[arg-type]  # a parameter
    assert KEY.encode() not in bytes(kept.request)
    assert not kept.repeatable
    assert json.loads(bytes(kept.request)).keys() >= {"model"}


@pytest.mark.parametrize("content", KEPT)
def test_a_request_without_a_key_is_kept_as_ever(content: str) -> None:
    members = chatrequests.members(b'{"model":"m","user":"me","input":[{"a":[1,null]}]}')
    every = [
        slices.at_once(keptrequest.keep(members, content, b"k" * 16, known))  # type: ignore[arg-type]  # a parameter
        for known in (KNOWN, redaction.NONE)
    ]
    assert bytes(every[0].request) == bytes(every[1].request)
    assert every[0].repeatable == every[1].repeatable == (content == "full")
