"""Row 17 of the fault matrix: the real Codex process is killed while turns are on it."""

import contextlib
import datetime
from collections.abc import Iterator
from typing import Any

import pytest

from machines import events
from tests.faults import codexstage, expected, scene
from tests.faults.codexstage import STREAMED, Binary
from tests.support.logs import serverlog
from tests.support.process import machinetime
from tests.support.providers.provider import HELLO
from tests.support.providers.replies import Held, Message, Stream
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

ROOM = 5
"""Turns and streams that the server takes at once."""

OPEN = Stream((Message(("so ", "far", Gate())),))
"""Some text and no end."""

WORKER_EXITED = expected.error(
    "worker_exited", "The worker's process ended before the answer was complete."
)

SO_FAR = expected.role(asks_usage=True) + expected.content("so ", "far", asks_usage=True)


@pytest.fixture(scope="module")
def crowd() -> Iterator[Binary]:
    room: dict[str, Any] = {
        "WORKER_MAX_CONCURRENCY": str(ROOM),
        "PROXY_SSE_MAX_CONCURRENCY": str(ROOM),
        "PROXY_WORKER_EXIT": "error",
    }
    with codexstage.binary(**room) as binary:
        yield binary


@pytest.fixture
def on(crowd: Binary) -> Binary:
    crowd.stage.server.wait_ready()
    return crowd


@contextlib.contextmanager
def killed(on: Binary) -> Iterator[None]:
    """With the process killed: a second later at the latest every answer on it has ended."""
    on.kill()
    with machinetime.within(scene.SECOND):
        yield


def test_row_17_every_stream_of_a_killed_process_ends_at_once(on: Binary) -> None:
    with contextlib.ExitStack() as stack:
        live = [
            stack.enter_context(on.stage.asked(on.plan.prompt(OPEN), **STREAMED))
            for _ in range(ROOM)
        ]
        for each in live:
            each.until(b"far")
        with killed(on):
            answers = [each.answer() for each in live]
    for answer in answers:
        assert (answer.status, answer.whole) == (200, True)
        assert answer.body == SO_FAR + WORKER_EXITED
    for last in on.stage.survived("worker_lost", "worker_exited", *answers):
        assert last.usage is None
    codexstage.has_room(on.stage, on.plan.prompt(*[OPEN] * ROOM), ROOM)


def test_row_17_a_whole_answer_of_a_killed_process_is_a_503(on: Binary) -> None:
    with on.stage.asked(on.plan.prompt(OPEN)) as asked:
        serverlog.wait_for_text(on.stage.server, asked.request_id, "so far")
        with killed(on):
            answer = asked.answer()
    assert (answer.status, answer.error["code"]) == (503, "worker_exited")
    assert answer.headers["retry-after"] == "1"
    on.stage.survived("worker_lost", "worker_exited", answer)


def test_row_17_turns_without_a_byte_run_again_on_a_fresh_process(on: Binary) -> None:
    prompts = [on.plan.prompt(Held(Gate()), HELLO) for _ in range(2)]
    with (
        on.stage.asked(prompts[0], **STREAMED) as streamed,
        on.stage.asked(prompts[1]) as whole,
    ):
        for prompt in prompts:
            on.asked(prompt)
        on.kill()
        answers = [streamed.answer(), whole.answer()]
    assert answers[0].body == (
        expected.role(asks_usage=True)
        + expected.content("Hello", " world", asks_usage=True)
        + expected.finish("stop", asks_usage=True)
        + expected.usage(10, 5, 3, 1)
        + expected.DONE
    )
    assert answers[1].status == 200
    assert [on.attempts(prompt) for prompt in prompts] == [2, 2]
    on.stage.survived("completed", None, *answers)
    for answer in answers:
        story = on.stage.story(answer)
        again = [each.code for each in story if isinstance(each, events.RetryScheduled)]
        assert again == ["worker_exited"]


@pytest.mark.parametrize("options", [{}, STREAMED])
def test_row_17_a_whole_item_is_an_answer_though_its_process_was_killed(
    on: Binary, options: dict[str, Any]
) -> None:
    prompt = on.plan.prompt(Stream((Message(("so ", "far")), Gate(), Message(("!",)))))
    with on.stage.asked(prompt, **options) as asked:
        serverlog.wait_for_text(on.stage.server, asked.request_id, "so far")
        # The item's own end is no event: after a whole turn of another's it has come, too.
        assert on.stage.ask(scene.PLAIN).status == 200
        with killed(on):
            answer = asked.answer()
    assert answer.status == 200
    if options:
        ending = expected.finish("stop", asks_usage=True) + expected.UNKNOWN
        assert answer.body == SO_FAR + ending + expected.usage(0, 0) + expected.DONE
    (last,) = on.stage.survived("completed", None, answer)
    assert last.usage is None


def test_row_17_readiness_and_refusals_while_there_is_no_process() -> None:
    slow: dict[str, Any] = {"WORKER_BACKOFF_INITIAL_MS": "1000", "WORKER_BACKOFF_MAX_MS": "1000"}
    with codexstage.binary(**slow) as on:
        server = on.stage.server
        on.kill()
        machinetime.until(lambda: server.get("/readyz")[0] == 503, scene.SECOND)
        refused = on.stage.ask("too soon", stream=True)
        assert (refused.status, refused.error["code"]) == (503, "worker_not_ready")
        assert refused.headers["retry-after"] == "1"
        assert server.get("/livez")[0] == 200
        status, health = server.get("/healthz")
        assert (status, health["status"]) == (200, "degraded")
        assert health["worker"]["state"] in ("backoff", "failed")
        on.stage.survived("rejected", "worker_not_ready", refused)


def test_row_17_a_lost_worker_ends_an_answer_as_length_unless_it_is_told_otherwise() -> None:
    with codexstage.binary() as on:
        with (
            on.stage.asked(on.plan.prompt(OPEN), **STREAMED) as streamed,
            on.stage.asked(on.plan.prompt(OPEN)) as whole,
        ):
            for each in (streamed, whole):
                serverlog.wait_for_text(on.stage.server, each.request_id, "so far")
            with killed(on):
                answers = [streamed.answer(), whole.answer()]
        ending = expected.finish("length", asks_usage=True) + expected.ESTIMATED
        assert answers[0].body == SO_FAR + ending + expected.usage(2, 2) + expected.DONE
        assert answers[1].status == 200
        assert answers[1].headers["x-turntape-usage"] == "estimated"
        for last in on.stage.survived("truncated", None, *answers):
            assert (last.usage, last.usage_source) == (events.Usage(2, 2), "estimated")


@pytest.mark.long
def test_row_17_restarts_are_further_and_further_apart() -> None:
    pauses: dict[str, Any] = {"WORKER_BACKOFF_INITIAL_MS": "100", "WORKER_BACKOFF_MAX_MS": "400"}
    with codexstage.binary(**pauses) as on:
        server = on.stage.server
        for _ in range(4):
            on.kill()
            machinetime.until(lambda: server.get("/readyz")[0] == 503, scene.SECOND)
            server.wait_ready()
        seen = [
            (moment(restart) - moment(end)).total_seconds()
            for end, restart in zip(said(on, "exited"), said(on, "backoff_elapsed"), strict=True)
        ]
        for pause, least in zip(seen, (0.1, 0.2, 0.4, 0.4), strict=True):
            assert least - 0.01 <= pause < least + 0.5
        on.stage.released()


def said(on: Binary, trigger: str) -> list[dict[str, Any]]:
    """The lines of the worker's transitions by one event."""
    return [line for line in on.stage.server.lines if line.get("trigger") == trigger]


def moment(line: dict[str, Any]) -> datetime.datetime:
    """When a line was written."""
    return datetime.datetime.fromisoformat(line["timestamp"])
