"""All that is done to a chat request before a worker's first line, and what it costs."""

import contextlib
import time
from typing import Final

import msgspec

from engine import slices, worker
from engine.codex.request import conversation, preparation
from engine.log.content import keptrequest
from engine.upstream import turn as upstreamturn
from server.api.options import AnswerOptions
from server.config import load as configuration
from server.config.settings import Config
from server.http.errors import ApiError
from tests.support.requests import chatrequests

MOST: Final = 2.3
"""How much longer twice as many items may take."""

HIGHEST: Final = {"HOME": "/", "PROXY_MAX_INPUT_ITEMS": "262144"}


def settings() -> Config:
    """A configuration that takes as many items as one can."""
    loaded, _ = configuration.load(HIGHEST)
    return loaded


def for_codex(body: bytes, settings: Config) -> None:
    """What a request for Codex goes through."""
    found = chatrequests.read(body, settings)
    keep(body, settings)
    to_codex(found)


def to_codex(found: AnswerOptions) -> None:
    """What Codex's worker does with what was read."""
    turn = _turn(found)
    slices.at_once(preparation.check(turn))
    prepared = slices.at_once(preparation.prepare(turn, lambda _: None))
    for batch in conversation.batches(prepared.items):
        msgspec.json.encode(batch)


def for_upstream(body: bytes, settings: Config) -> None:
    """What a request for an upstream goes through."""
    found = chatrequests.pass_on(body, settings)
    keep(body, settings)
    to_upstream(found)


def to_upstream(found: AnswerOptions) -> None:
    """What an upstream's worker does with what was read."""
    upstreamturn.request_of(_turn(found))


SEND: Final = {"codex": to_codex, "upstream": to_upstream}
WORK: Final = {"codex": for_codex, "upstream": for_upstream}


def keep(body: bytes, settings: Config) -> None:
    """What the log does with a request."""
    members = chatrequests.members(body, settings.max_input_items)
    slices.at_once(keptrequest.keep(members, "masked", b"k"))


def _turn(found: AnswerOptions) -> worker.Turn:
    return worker.Turn(
        stream_id="st_1",
        request_id="req_1",
        target=found.model,
        messages=found.messages,
        body=found.body,
        output_schema=found.output_schema,
        tools=found.tools,
    )


def seconds(name: str, body: bytes, settings: Config, times: int = 5) -> float:
    """CPU time of it, the best of so many."""

    def once() -> float:
        begun = time.thread_time()
        with contextlib.suppress(ApiError, worker.TurnRefused):  # which must not take long either
            WORK[name](body, settings)
        return time.thread_time() - begun

    with slices.GcPaused():
        return min(once() for _ in range(times))
