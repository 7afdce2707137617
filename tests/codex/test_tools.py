"""Conversations with calls: what the model asks for, the client's functions, the answer."""

import itertools
import json
from collections.abc import Callable, Iterator

import pytest

from tests.codex import toolplay
from tests.codex.toolplay import Stage, Step, Talk, call, function
from tests.support.process import machinetime
from tests.support.providers.provider import Request
from tests.support.providers.replies import (
    Answer,
    FunctionCall,
    Message,
    Reasoning,
    Stream,
    Usage,
    joined,
)
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

LAST = Usage(input_tokens=55, output_tokens=9, cached_tokens=44, reasoning_tokens=2)
"""Counts of the step that answers."""

ARGUMENTS = {
    "cjk": '{"city":"東京","ward":"渋谷区 — 텍스트 𠮷"}',
    "emoji": '{"city": "👩‍👧 \\ud83d\\ude00 🇩🇪"}',
    "64 KB": json.dumps({"city": "東京👩‍👧" * 4096}, ensure_ascii=False),
    "as written": '{ "n" : 1.50,\n "n" : 1e2, "s":"\\u0041\\/" }',
    "digits": '{"n":123456789012345678901234567890}',
}
"""Arguments that are easily spoilt."""

PARALLEL = (call(1), call(2, '{"city": "Oslo"}'), call(3, '{"city":"Rom"}'))

STEPS: dict[str, Stream] = {
    **{name: Stream((call(1, text),), usage=toolplay.COUNTS) for name, text in ARGUMENTS.items()},
    "one": Stream((call(1),), usage=toolplay.COUNTS),
    "three": Stream(PARALLEL, usage=toolplay.COUNTS),
    "spoken": Stream((Message(("Let me ", "look.")), call(1)), usage=toolplay.COUNTS),
    "thought": Stream(
        (Reasoning((("Hm.",),)), Message(("Wait.",)), *PARALLEL), usage=toolplay.COUNTS
    ),
    "nothing": Stream((call(1, ""),)),
    "unknown": Stream((call(1, '{"a": 1}', "no_such_function"),)),
    "unparsable": Stream((call(1, '{"city": '),)),
    "array": Stream((call(1, "[1]"),)),
    "shell": Stream((call(1, '{"cmd": "touch hacked"}', "exec_command"),)),
}
"""First steps, by the user's message."""

_numbers = itertools.count(1000)


def answer(request: Request) -> Answer:
    """A step of calls; then words about the results."""
    results = toolplay.outputs(request.body["input"])
    if _codex_own(request):
        return Stream((Gate(),))
    if request.prompt == "sums":
        return _sums(results)
    if request.prompt == "side by side" and not results:
        return Stream((call(next(_numbers)),), usage=toolplay.COUNTS)
    if results:
        return Stream((Message((toolplay.told(results),)),), usage=LAST)
    return STEPS[request.prompt]


def _codex_own(request: Request) -> bool:
    """Whether Codex has answered a call itself, and asks for what follows."""
    results = toolplay.outputs(request.body["input"])
    return any(result.startswith(("unsupported call", "failed to parse")) for result in results)


def _sums(results: list[str]) -> Stream:
    """Three steps of calls, each with the results of those before; then the last result."""

    def calling(*asked: tuple[str, list[int]]) -> Stream:
        first = len(results) + 1
        return Stream(
            tuple(
                call(number, json.dumps({"numbers": numbers}), name)
                for number, (name, numbers) in enumerate(asked, first)
            )
        )

    values = list(map(int, results))
    match values:
        case []:
            return calling(("add", [1, 2]), ("add", [3, 4]))
        case [one, other]:
            return calling(("multiply", [one, other]))
        case [*_, product] if len(values) == 3:
            return calling(("add", [product, 21]))
        case [*_, last]:
            return Stream((Message((f"It is {last}.",)),))
    raise AssertionError(values)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with toolplay.stage(answer) as stage:
        yield stage


@toolplay.both_ways
@pytest.mark.parametrize("name", [*ARGUMENTS, "one", "three", "spoken", "thought"])
def test_a_conversation_with_calls_comes_to_its_answer(
    stage: Stage, step: Step, name: str
) -> None:
    items = STEPS[name].items
    made = [item for item in items if isinstance(item, FunctionCall)]
    said = "".join(joined(item.pieces) for item in items if isinstance(item, Message))
    before = len(stage.provider.requests)
    talk = Talk(stage.server, name)

    first = step(talk)
    assert first.calls == [(item.call_id, item.name, joined(item.arguments)) for item in made]
    assert (first.message.content or "") == said
    assert first.whole.choices[0].finish_reason == "tool_calls"
    assert first.counts == (21, 34, 13, 8)

    results = [f"of {item.call_id}" for item in made]
    talk.bring(*results)
    last = step(talk)
    assert last.message.content == toolplay.told(results)
    assert last.message.tool_calls is None
    assert last.whole.choices[0].finish_reason == "stop"
    assert last.counts == (55, 9, 44, 2)
    assert len(stage.provider.requests) == before + 2
    assert talk.terminal(first).tool_calls == len(made)
    assert talk.terminal(last).tool_calls == 0


@toolplay.both_ways
def test_a_loop_of_functions_runs_to_its_end(stage: Stage, step: Step) -> None:
    functions: dict[str, Callable[[list[int]], int]] = {
        "add": sum,
        "multiply": lambda numbers: numbers[0] * numbers[1],
    }
    before = len(stage.provider.requests)
    talk = Talk(stage.server, "sums", tools=[function(name) for name in functions])
    rounds: list[list[tuple[str, list[int]]]] = []
    while (reply := step(talk)).calls:
        called = [(name, json.loads(given)["numbers"]) for _, name, given in reply.calls]
        rounds.append(called)
        talk.bring(*(str(functions[name](numbers)) for name, numbers in called))
    assert rounds == [
        [("add", [1, 2]), ("add", [3, 4])],
        [("multiply", [3, 7])],
        [("add", [21, 21])],
    ]
    assert reply.message.content == "It is 42."
    assert len(stage.provider.requests) == before + 4


@toolplay.both_ways
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("unknown", ("call_1", "no_such_function", '{"a": 1}')),
        ("unparsable", ("call_1", "get_weather", '{"city": ')),
        ("array", ("call_1", "get_weather", "[1]")),
        ("nothing", ("call_1", "get_weather", "{}")),
    ],
)
def test_a_call_that_codex_would_answer_itself_is_the_clients(
    stage: Stage, step: Step, name: str, made: tuple[str, str, str]
) -> None:
    before = len(stage.provider.requests)
    talk = Talk(stage.server, name)
    first = step(talk)
    assert first.calls == [made]
    assert first.whole.choices[0].finish_reason == "tool_calls"
    talk.bring("No, try again.")
    last = step(talk)
    assert last.message.content == toolplay.told(["No, try again."])
    asked = stage.provider.requests[before:]
    # Codex may be faster than its interrupt: then what it asks for is dropped at once.
    own = [request for request in asked if _codex_own(request)]
    assert len(own) <= 1
    machinetime.until(lambda: all(request.left.is_set() for request in own), machinetime.SECOND)
    ours = [toolplay.outputs(each.body["input"]) for each in asked if each not in own]
    assert ours == [[], ["No, try again."]]


@toolplay.both_ways
def test_a_function_by_the_name_of_codex_own_is_the_clients(stage: Stage, step: Step) -> None:
    talk = Talk(stage.server, "shell", tools=[function("exec_command"), function("apply_patch")])
    first = step(talk)
    assert first.calls == [("call_1", "exec_command", '{"cmd": "touch hacked"}')]
    talk.bring("done")
    assert step(talk).message.content == toolplay.told(["done"])
    assert list(stage.server.data_dir.rglob("hacked")) == []


def test_choices_side_by_side_have_calls_of_their_own(stage: Stage) -> None:
    before = len(stage.provider.requests)
    for step in (Talk.step, Talk.stream):
        talk = Talk(stage.server, "side by side")
        reply = step(talk, n=2)
        calls = [choice.message.tool_calls for choice in reply.whole.choices]
        ids = [call.id for called in calls for call in called or ()]
        assert len(set(ids)) == 2
        assert [choice.finish_reason for choice in reply.whole.choices] == ["tool_calls"] * 2
        assert reply.counts == (21, 68, 13, 16)
        second = reply.whole.choices[1].message.model_dump(exclude_none=True)
        talk.messages[-1] = second
        talk.bring("sunny")
        assert step(talk).message.content == toolplay.told(["sunny"])
    assert len(stage.provider.requests) == before + 6
