"""The times that an answer tells of itself: what they are, where they stand, how they replay."""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from openai.types import chat as sdk

from machines import events, outputs
from server.chat import requestmetrics
from tests.support.process import serving
from tests.support.providers import upstreams

NAMES: Final = [
    *("time_to_first_token_ms", "generation_time_ms", "queue_time_ms"),
    *("mean_itl_ms", "tokens_per_second"),
]
"""vLLM's members, in their order."""


def measured(*steps: tuple[outputs.AnyOutput, int]) -> requestmetrics.RequestMetrics:
    made = requestmetrics.RequestMetrics(1_000_000)
    for output, now in steps:
        made.take(output, now)
    return made


def test_times_are_between_the_first_token_and_the_last_finish() -> None:
    made = measured(
        (outputs.Head(), 1_100_000),
        (outputs.Role(), 1_100_000),
        (outputs.Reasoning("a"), 1_500_000),
        (outputs.Content("b"), 2_000_000),
        (outputs.Finish("stop"), 3_500_000),
        (outputs.Done(), 9_000_000),
    )
    assert list(made.object(events.Usage(7, 5)).items()) == list(
        zip(NAMES, [500.0, 2000.0, None, 500.0, 2.5], strict=True)
    )


@pytest.mark.parametrize("usage", [None, events.Usage(7, 0), events.Usage(7, 1)])
def test_what_cannot_be_had_is_null(usage: events.Usage | None) -> None:
    nothing = dict.fromkeys(NAMES)
    assert measured((outputs.Head(), 1_100_000)).object(usage) == nothing
    at_once = measured((outputs.Content("a"), 2_000_000), (outputs.Finish("stop"), 2_000_000))
    assert at_once.object(usage) == nothing | {
        "time_to_first_token_ms": 1000.0,
        "generation_time_ms": 0.0,
    }


def test_a_stream_that_does_not_tell_is_not_measured() -> None:
    first = events.Opened(
        request_id="r", completion_id="c", created=0, model="m", target="m", worker="codex"
    )
    assert requestmetrics.of(first) is None
    assert requestmetrics.of(msgspec.structs.replace(first, metrics_since=0)) is not None


@pytest.fixture(scope="module")
def place() -> Iterator[upstreams.Stage]:
    """A server that tells, with a full log."""
    with upstreams.stage((upstreams.PLAIN,), PROXY_ENABLE_REQUEST_METRICS="true") as staging:
        yield staging


def ask(place: upstreams.Stage, prompt: str, **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], **fields}
    status, answer = place.server.post(body)
    assert status == 200
    return answer


def chunks(place: upstreams.Stage, prompt: str, **fields: Any) -> list[dict[str, Any]]:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], **fields}
    lines = place.server.stream(body).split(b"\n\n")
    return [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


def test_an_answer_has_them_and_the_sdk_takes_it(place: upstreams.Stage) -> None:
    answer = ask(place, "hi")
    assert list(answer["metrics"]) == NAMES
    assert answer["metrics"]["time_to_first_token_ms"] > 0
    read = sdk.ChatCompletion.model_validate(answer, strict=False)
    assert read.model_extra == {"metrics": answer["metrics"]}


def test_a_stream_has_them_with_its_counts_alone(place: upstreams.Stage) -> None:
    *others, last = chunks(place, "hi", stream_options={"include_usage": True})
    assert not any("metrics" in each for each in others)
    assert list(last["metrics"]) == NAMES
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 2)
    assert sdk.ChatCompletionChunk.model_validate(last).usage is not None
    assert not any("metrics" in each for each in chunks(place, "hi"))


@pytest.mark.parametrize("streamed", [False, True])
def test_an_upstream_that_tells_its_own_is_left_alone(
    place: upstreams.Stage, streamed: bool
) -> None:
    told = upstreams.counted(7, 2) | {"metrics": {"mean_itl_ms": 1.5}}
    stop = upstreams.chunk(finish="stop")
    prompt = place.upstream.prompt(upstreams.stream(upstreams.chunk("a"), stop, told))
    if streamed:
        answer = chunks(place, prompt, stream_options={"include_usage": True})[-1]
    else:
        answer = ask(place, prompt)
    assert answer["metrics"] == {"mean_itl_ms": 1.5}


NESTED: Final = (
    '"beside":{"metrics":1}',
    f'"long":"{"x" * 9000}","beside":{{"metrics":[]}}',
)
"""Members of a chunk that have the word and are not the upstream's own times."""


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("member", NESTED, ids=["short", "long"])
def test_a_member_that_only_has_the_word_within_is_no_telling(
    place: upstreams.Stage, member: str, streamed: bool
) -> None:
    counted = json.dumps(upstreams.counted(7, 2))[:-1] + f", {member}}}"
    stop = upstreams.chunk(finish="stop")
    prompt = place.upstream.prompt(upstreams.stream(upstreams.chunk("a"), stop, counted))
    if streamed:
        answer = chunks(place, prompt, stream_options={"include_usage": True})[-1]
    else:
        answer = ask(place, prompt)
    assert list(answer["metrics"]) == NAMES


def test_the_log_makes_the_same_bytes_again(place: upstreams.Stage) -> None:
    ask(place, "once more")
    chunks(place, "once more", stream_options={"include_usage": True})
    replayed = place.server.replay()
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def test_nobody_is_told_by_default() -> None:
    with upstreams.stage((upstreams.PLAIN,)) as place:
        assert "metrics" not in ask(place, "hi")
        assert not serving.command("replay", str(place.server.log_dir)).returncode
