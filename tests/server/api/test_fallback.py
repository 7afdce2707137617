"""What a request asks of the targets that stand in is known before the first of them fails."""

import asyncio
from typing import Any

from engine.routing import fleet as routing
from engine.slices import Steps
from server.api import fallback, options
from server.http.errors import ApiError
from tests.server import answering

FIRST = options.AnswerOptions(
    model="m", stream=False, include_usage=False, n=1, output_mode="openai-json", most_calls=0
)
OTHER = options.AnswerOptions(
    model="n", stream=False, include_usage=False, n=1, output_mode="openai-json", most_calls=0
)
REFUSED = ApiError("invalid_request", "No.", "messages")


def target(name: str, worker: Any, **defaults: Any) -> routing.Target:
    return routing.Target(name, worker, name, defaults=defaults)


def test_each_target_that_may_stand_in_is_read_for_unless_it_is_like_the_first() -> None:
    one, two = answering.Player(()), answering.Player(())
    read_for = []

    def read(each: routing.Target) -> Steps[options.AnswerOptions]:
        read_for.append(each.name)
        yield
        if each.name == "refused":
            raise REFUSED
        return OTHER

    route = (
        target("first", one),
        target("alike", one),
        target("defaults", one, top_p=1),
        target("other", two),
        target("refused", two),
    )
    assert asyncio.run(fallback.readings(route, FIRST, read)) == {
        "alike": FIRST,
        "defaults": OTHER,
        "other": OTHER,
        "refused": REFUSED,
    }
    assert read_for == ["defaults", "other", "refused"]
