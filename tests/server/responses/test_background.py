"""Responses in the background, on a real server: made, polled, followed, stopped, cut off."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from openai.types.responses import Response

from tests.faults import scene
from tests.support.client import responseswire
from tests.support.client.responsesclient import Client, Json
from tests.support.process import machinetime
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import DONE, LAST, STREAM_HEAD, chunk, counted, framed, sse

pytestmark = pytest.mark.slow

HEL = STREAM_HEAD + framed(sse(chunk("Hel")))
REST = framed(sse(chunk("lo"), chunk(finish="stop"), counted(7, 2)) + DONE) + LAST
"""The two parts of what an upstream says."""

FOLLOWERS = 8
"""How many stop reading at once."""


class Place(NamedTuple):
    """A server that says what it holds, the upstream behind it, and who asks."""

    stage: scene.Stage
    source: upstreams.Hosted
    client: Client

    def gated(self) -> tuple[str, scripted.Gate]:
        """A prompt whose answer waits in the middle, and what it waits for."""
        gate = scripted.Gate()
        return self.source.prompt([HEL, gate, REST]), gate

    def begin(self, prompt: str, **fields: object) -> str:
        """Have a response be made in the background; its id."""
        response = self.client.made(prompt, background=True, **fields)
        assert (response["status"], response["background"]) == ("in_progress", True)
        return str(response["id"])

    def poll(self, response_id: str) -> Json:
        """The response once it has ended."""
        machinetime.until(lambda: self.client.get(response_id).body["status"] != "in_progress")
        return self.client.get(response_id).body

    def left(self, prompt: str) -> None:
        """The upstream is let go of within a second."""
        machinetime.until(self.source.request_for(prompt).left.is_set, scene.SECOND)

    def terminal(self, response_id: str) -> tuple[str, str | None]:
        """How the log says that it ended, and why."""
        records = self.stage.server.records()
        (stream,) = [
            each["stream"] for each in records if each.get("completion_id") == response_id
        ]
        (last,) = [
            each for each in records if (each["stream"], each["event"]) == (stream, "terminal")
        ]
        return last["kind"], last.get("cause")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """It has room for one stream; at its end its log replays to the bytes that were said."""
    with (
        upstreams.Hosted() as source,
        scene.running("--worker", "upstream", PROXY_UPSTREAM_URL=source.url) as stage,
    ):
        yield Place(stage, source, Client(stage.server))


@pytest.fixture(autouse=True)
def nothing_is_left(place: Place) -> Iterator[None]:
    """After every test the server holds what it holds at rest."""
    yield
    place.stage.released()


def test_it_is_answered_at_once_and_found_when_it_is_made(place: Place) -> None:
    prompt, gate = place.gated()
    reply = place.client.create(prompt, background=True, metadata={"a": "b"})
    begun = Response.model_validate_json(reply.raw, strict=True)
    assert (begun.status, begun.output, begun.metadata) == ("in_progress", [], {"a": "b"})
    assert place.client.get(begun.id).body == reply.body
    (item,) = place.client.input_items(begun.id).body["data"]
    assert item["content"][0]["text"] == prompt
    gate.open()
    ended = place.poll(begun.id)
    assert (ended["status"], ended["output"][0]["content"][0]["text"]) == ("completed", "Hello")
    assert ended["usage"]["total_tokens"] == 9
    assert place.terminal(begun.id) == ("completed", None)
    following = place.client.made("and", previous_response_id=begun.id)
    assert following["status"] == "completed"


def test_it_is_streamed_to_who_asks_for_it_so(place: Place) -> None:
    told = place.client.create("hi", background=True, stream=True).told
    responseswire.check_types(told)
    responseswire.fold(told)
    assert told[-1]["type"] == "response.completed"
    response = told[-1]["response"]
    assert place.client.get(response["id"]).body == response
    again = place.client.get(response["id"], "?stream=true").told
    assert again == told


def test_a_stream_goes_on_from_a_cursor_while_it_is_made_and_after(place: Place) -> None:
    prompt, gate = place.gated()
    with place.client.creating(prompt, background=True) as live:
        response_id = live.response_id
        delta = live.event("response.output_text.delta")
        number = delta["sequence_number"]
        path = f"/responses/{response_id}?stream=true&starting_after={number}"
        with place.client.live("GET", path) as late:
            gate.open()
            rest = responseswire.events(late.reply().raw)
        told = live.reply().told
    assert rest == [*told[number + 1 :], {"done": True}]
    for after in range(len(told)):
        query = f"?stream=true&starting_after={after}"
        later = responseswire.events(place.client.get(response_id, query).raw)
        assert later == [*told[after + 1 :], {"done": True}]
    assert place.client.get(response_id, "?stream=false&starting_after=3").body["status"]


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30])
def test_a_cursor_that_is_none_is_refused(place: Place, after: str) -> None:
    response_id = place.begin("hi")
    place.poll(response_id)
    refused = place.client.get(response_id, f"?stream=true&starting_after={after}")
    assert refused.problem == (400, None, "starting_after")


def test_a_client_that_leaves_its_stream_does_not_stop_it(place: Place) -> None:
    prompt, gate = place.gated()
    with place.client.creating(prompt, background=True) as leaving:
        response_id = leaving.response_id
        leaving.until(b'"delta":"Hel"')
    assert place.stage.server.get("/healthz")[1]["streams"] == 1
    with place.client.live("GET", f"/responses/{response_id}?stream=true") as other:
        other.until(b'"delta":"Hel"')
        gate.open()
        told = other.reply().told
    assert told[-1]["type"] == "response.completed"
    assert place.poll(response_id) == told[-1]["response"]
    assert place.terminal(response_id) == ("completed", None)


def test_a_client_may_leave_before_it_is_answered(place: Place) -> None:
    for _ in range(20):
        with place.client.live(
            "POST", "/responses", {"model": "m", "input": "hi", "background": True}
        ):
            pass
    place.stage.released()


def test_what_is_cancelled_is_stopped(place: Place) -> None:
    prompt = place.source.prompt([HEL, "stall"])
    with place.client.creating(prompt, background=True) as live:
        response_id = live.response_id
        live.until(b'"delta":"Hel"')
        cancelled = place.client.cancel(response_id)
        told = live.reply().told
    place.left(prompt)
    Response.model_validate_json(cancelled.raw, strict=True)
    assert (cancelled.status, cancelled.body["status"]) == (200, "cancelled")
    assert cancelled.body["output"][0]["content"][0]["text"] == "Hel"
    assert told[-1] == {
        "type": "response.failed",
        "sequence_number": told[-1]["sequence_number"],
        "response": cancelled.body,
    }
    for again in (place.client.get(response_id), place.client.cancel(response_id)):
        assert again.body == cancelled.body
    assert place.client.get(response_id, "?stream=true").told == told
    assert place.terminal(response_id) == ("client_gone", "cancelled")


def test_nothing_goes_on_from_what_is_not_finished(place: Place) -> None:
    prompt, gate = place.gated()
    response_id = place.begin(prompt)
    early = place.client.create("stop", previous_response_id=response_id)
    assert early.problem == (400, None, "previous_response_id")
    gate.open()
    assert place.poll(response_id)["status"] == "completed"


def test_what_is_over_stays_as_it_is_whoever_cancels_it(place: Place) -> None:
    response_id = place.begin("hi")
    ended = place.poll(response_id)
    assert place.client.cancel(response_id).body == ended


def test_what_is_deleted_while_it_is_made_is_stopped_and_gone(place: Place) -> None:
    prompt = place.source.prompt([HEL, "stall"])
    with place.client.creating(prompt, background=True) as live:
        response_id = live.response_id
        live.until(b'"delta":"Hel"')
        assert place.client.delete(response_id).body["deleted"]
        assert live.reply().told[-1]["response"]["status"] == "cancelled"
    place.left(prompt)
    for gone in (
        place.client.get(response_id),
        place.client.get(response_id, "?stream=true"),
        place.client.cancel(response_id),
        place.client.delete(response_id),
    ):
        assert gone.problem == (404, "response_not_found", None)


def test_a_failure_is_found_whenever_it_came(place: Place) -> None:
    refused = upstreams.response(403, {"error": {"message": "No.", "code": "no", "type": "t"}})
    early = place.poll(place.begin(place.source.prompt(refused)))
    assert early == {
        **early,
        "status": "failed",
        "error": {
            "code": "server_error",
            "message": "No.",
            "type": "invalid_request_error",
            "param": None,
        },
        "output": [],
    }
    late = place.poll(place.begin(place.source.prompt([HEL, "reset"])))
    assert (late["status"], late["output"][0]["status"]) == ("failed", "incomplete")


def test_what_cannot_begin_is_refused_and_leaves_nothing(place: Place) -> None:
    prompt = place.source.prompt([HEL, "stall"])
    with place.client.creating(prompt) as busy:
        busy.until(b'"delta":"Hel"')
        full = place.client.create("hi", background=True)
    assert full.problem == (429, "concurrency_exceeded", None)
    place.left(prompt)
    machinetime.until(
        lambda: place.client.create("hi", background=True).status == 200, scene.SECOND
    )


def test_it_must_be_kept(place: Place) -> None:
    refused = place.client.create("hi", background=True, store=False)
    assert refused.problem == (400, "unsupported_parameter", "background")


def test_a_permit_is_held_as_long_as_it_is_made(place: Place) -> None:
    prompt, gate = place.gated()
    response_id = place.begin(prompt)
    assert place.client.create("hi", stream=True).status == 429
    gate.open()
    place.poll(response_id)
    assert place.client.create("hi", stream=True).status == 200


def test_followers_that_are_slow_or_leave_hold_up_nobody(place: Place) -> None:
    gate = scripted.Gate()
    text = "x" * 50_000
    much = framed(sse(*(chunk(text) for _ in range(40))))
    prompt = place.source.prompt([HEL, much, gate, much, REST])
    response_id = place.begin(prompt)
    path = f"/responses/{response_id}?stream=true"
    slow = place.client.live("GET", path, receive_buffer=4096)
    leaving = place.client.live("GET", path)
    with slow, leaving, place.client.live("GET", path) as quick:
        for each in (slow, leaving, quick):
            each.until(b'"delta":"Hel"')
        leaving.leave()
        gate.open()
        told = quick.reply().told
        assert told[-1]["response"]["output"][0]["content"][0]["text"] == (
            "Hel" + 80 * text + "lo"
        )
        assert place.poll(response_id) == told[-1]["response"]
        assert slow.reply().told == told


def test_followers_that_stop_reading_cost_a_bounded_buffer_each(place: Place) -> None:
    part = framed(sse(chunk("x" * 65_536)))
    response_id = place.begin(place.source.prompt([HEL, *[part] * 64, REST]))
    place.poll(response_id)
    before = place.stage.server.resident()
    path = f"/responses/{response_id}?stream=true"
    stalled = [place.client.live("GET", path, receive_buffer=4096) for _ in range(FOLLOWERS)]
    for each in stalled:
        each.until(b'"delta":"Hel"')
    # Sent in turns with the others, who could have had as much by then.
    assert place.client.get(response_id, "?stream=true").told[-1]["type"] == "response.completed"
    grown = place.stage.server.resident() - before
    for each in stalled:
        each.leave()
    assert grown < FOLLOWERS * (2 << 20), "each of them could be sent 16 MiB and more"
