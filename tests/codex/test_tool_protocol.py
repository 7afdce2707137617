"""What the real binary does with a client's functions: the facts that answering calls rests on."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import slices, worker
from engine.codex.child import home as codexhome
from engine.codex.protocol import appserver, notifications
from engine.codex.request import tools
from tests.codex.toolplay import PIXEL
from tests.support.process import codexbinary
from tests.support.providers.pipe import Frame, Pipe, message
from tests.support.providers.provider import Provider, Request, Script
from tests.support.providers.replies import FunctionCall, Json, Message, Reasoning, Stream, Usage
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

COUNTS = Usage(input_tokens=21, output_tokens=34, cached_tokens=13, reasoning_tokens=8)

WEATHER = worker.Tool("get_weather", "The weather.")


def described(declared: tuple[worker.Tool, ...]) -> tools.Toolset:
    """Functions as a thread is told of them."""
    made = tools.Toolset(declared)
    slices.at_once(made.describe())
    return made


class Thread(Pipe):
    """A process, and what a turn with functions needs of it."""

    def begin(self, cwd: Path, *items: Frame, declared: tuple[worker.Tool, ...]) -> str:
        """A thread with these functions and this history, and its turn; the thread's id."""
        params = appserver.ThreadStartParams(
            model="gpt-5.5",
            cwd=str(cwd),
            experimental_raw_events=True,
            dynamic_tools=described(declared).dynamic_tools,
        )
        thread_id = self.start(params, *items)
        self.call("turn/start", appserver.TurnStartParams(thread_id=thread_id))
        return thread_id

    def asked(self, thread_id: str, number: int = 0) -> tuple[int, appserver.ToolCallParams]:
        """The id and params of a thread's call for a function, counted from 0."""
        self.wait(lambda _: len(self.of(thread_id, "item/tool/call")) > number)
        frame = self.of(thread_id, "item/tool/call")[number]
        return frame["id"], _typed(frame["params"], appserver.ToolCallParams)

    def answer(self, rpc_id: int, *content: appserver.InputText | appserver.InputImage) -> None:
        """Give a function's result."""
        result = appserver.ToolCallResult(content)
        self._write({"id": rpc_id, "result": msgspec.to_builtins(result)})

    def answer_all(self, thread_id: str, count: int) -> list[str]:
        """Answer that many calls as they come; their ids in that order."""
        asked = []
        for number in range(count):
            rpc_id, params = self.asked(thread_id, number)
            self.answer(rpc_id, appserver.InputText(f"result of {params.call_id}"))
            asked.append(params.call_id)
        return asked

    def step(self, thread_id: str) -> notifications.RawResponseCompleted:
        """Wait for the end of the first model step."""
        found: notifications.RawResponseCompleted = self.notification(
            "rawResponse/completed", thread_id
        )
        return found

    def end(self, thread_id: str) -> str:
        """Wait for the end of the turn; its status."""
        ended: notifications.TurnNotification = self.notification("turn/completed", thread_id)
        return ended.turn.status

    def interrupt(self, thread_id: str) -> str:
        """Stop the turn; its status."""
        self.call("turn/interrupt", appserver.TurnInterruptParams(thread_id, ""))
        return self.end(thread_id)

    def of(self, thread_id: str, *methods: str) -> list[Frame]:
        """A thread's frames of these methods so far."""
        return [
            frame
            for frame in self.frames
            if frame.get("method") in methods and frame["params"]["threadId"] == thread_id
        ]

    def raw_items(self, thread_id: str) -> list[Json]:
        """The raw items of a thread so far, without the echo of what was injected."""
        return [
            frame["params"]["item"]
            for frame in self.of(thread_id, "rawResponseItem/completed")
            if frame["params"]["turnId"] != "auto-compact-0"
        ]


def _typed(params: Json, type_: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(params), type=type_)


@contextlib.contextmanager
def codex(tmp_path: Path, script: Script) -> Iterator[tuple[Thread, Provider, Path]]:
    """A process with its model provider, and an empty directory."""
    with Provider(script) as provider:
        setup = codexhome.Setup(data_dir=tmp_path, base_url=provider.url)
        codexhome.prepare(setup)
        with Thread(setup) as pipe:
            pipe.handshake()
            yield pipe, provider, setup.cwd


def calling(*items: Any, usage: Usage | None = COUNTS) -> Callable[[Request], Stream]:
    """A model that answers with these items, and with a text once it has results."""

    def script(request: Request) -> Stream:
        if results(request):
            return Stream((Message(("done",)),))
        return Stream(items, usage=usage)

    return script


def call(number: int, name: str = "get_weather", arguments: str = "{}") -> FunctionCall:
    """A call of the model's."""
    return FunctionCall(f"call_{number}", name, (arguments,))


def results(request: Request) -> list[Json]:
    """The results of calls in what the provider was sent, in order."""
    return [item for item in request.body["input"] if item["type"] == "function_call_output"]


@pytest.mark.parametrize(
    "arguments",
    [
        '{"city":"東京 😀 é","days":1.50,"n":1e2}',
        '{ "city" : "\\u4e2d\\ud83d\\ude00",\n "a":1, "a":2 }',
        '{"n":123456789012345678901234567890}',
        '{"text":"' + "中😀" * 8192 + '"}',
        "[1]",
    ],
    ids=["unicode", "escapes", "number", "64 KB", "array"],
)
def test_arguments_come_to_the_letter_and_go_back_so(tmp_path: Path, arguments: str) -> None:
    pieces = (arguments[:7], arguments[7:20], arguments[20:])
    with codex(tmp_path, calling(FunctionCall("call_1", "get_weather", pieces))) as (
        pipe,
        provider,
        cwd,
    ):
        thread_id = pipe.begin(cwd, message("user", "hi"), declared=(WEATHER,))
        pipe.step(thread_id)
        (item,) = pipe.raw_items(thread_id)
        assert (item["name"], item["call_id"]) == ("get_weather", "call_1")
        assert item["arguments"] == arguments
        pipe.answer_all(thread_id, 1)
        assert pipe.end(thread_id) == "completed"
        assert provider.requests[1].body["input"][1]["arguments"] == arguments


def test_a_step_ends_with_its_counts_while_its_calls_wait(tmp_path: Path) -> None:
    with codex(tmp_path, calling(call(0), call(1), call(2))) as (pipe, provider, cwd):
        thread_id = pipe.begin(cwd, message("user", "hi"), declared=(WEATHER,))
        step = pipe.step(thread_id)
        assert (step.response_id, step.usage) == (
            "resp_1",
            notifications.TokenCounts(21, 13, 34, 8, 55),
        )
        order = pipe.of(thread_id, "rawResponseItem/completed", "rawResponse/completed")
        methods = [frame["method"] for frame in order if frame["params"]["turnId"] == step.turn_id]
        assert methods == ["rawResponseItem/completed"] * 3 + ["rawResponse/completed"]
        assert [item["call_id"] for item in pipe.raw_items(thread_id)] == [
            "call_0",
            "call_1",
            "call_2",
        ]
        assert pipe.of(thread_id, "thread/tokenUsage/updated") == []
        assert len(provider.requests) == 1


def test_a_step_without_counts_says_so(tmp_path: Path) -> None:
    with codex(tmp_path, calling(call(0), usage=None)) as (pipe, _, cwd):
        thread_id = pipe.begin(cwd, message("user", "hi"), declared=(WEATHER,))
        assert pipe.step(thread_id).usage is None


def test_a_call_is_known_while_its_step_goes_on(tmp_path: Path) -> None:
    gate = Gate()
    with codex(tmp_path, calling(call(0), gate, call(1))) as (pipe, _, cwd):
        thread_id = pipe.begin(cwd, message("user", "hi"), declared=(WEATHER,))
        assert pipe.asked(thread_id)[1].call_id == "call_0"
        assert [item["call_id"] for item in pipe.raw_items(thread_id)] == ["call_0"]
        assert pipe.of(thread_id, "rawResponse/completed") == []
        gate.open()
        pipe.step(thread_id)
        assert [item["call_id"] for item in pipe.raw_items(thread_id)] == ["call_0", "call_1"]


def test_each_of_several_calls_is_asked_for_and_answered_by_its_id(tmp_path: Path) -> None:
    with codex(tmp_path, calling(call(0), call(1), call(2))) as (pipe, provider, cwd):
        for _ in range(3):
            thread_id = pipe.begin(cwd, message("user", "hi"), declared=(WEATHER,))
            pipe.step(thread_id)
            for number in range(3):
                rpc_id, params = pipe.asked(thread_id, number)
                pipe.call("model/list", appserver.ModelListParams())
                if not codexbinary.asks_for_all_calls_at_once():
                    assert len(pipe.of(thread_id, "item/tool/call")) == number + 1
                pipe.answer(rpc_id, appserver.InputText(f"result of {params.call_id}"))
            assert pipe.end(thread_id) == "completed"
            # Whichever was asked for first: the model reads results in the order of its calls.
            assert [(one["call_id"], one["output"]) for one in results(provider.requests[-1])] == [
                ("call_0", "result of call_0"),
                ("call_1", "result of call_1"),
                ("call_2", "result of call_2"),
            ]


@pytest.mark.parametrize(
    ("content", "output"),
    [
        ((), []),
        ((appserver.InputText("sunny"),), "sunny"),
        (
            (appserver.InputText("a"), appserver.InputText("b")),
            [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
        ),
    ],
    ids=["nothing", "text", "texts"],
)
def test_what_the_model_sees_of_a_result(tmp_path: Path, content: Any, output: Any) -> None:
    assert seen_of(tmp_path, *content) == output


def test_the_model_sees_an_image_of_a_result(tmp_path: Path) -> None:
    detail = codexbinary.image_detail()
    seen = [{"type": "input_image", "image_url": PIXEL, "detail": detail}]
    assert seen_of(tmp_path, appserver.InputImage(PIXEL)) == seen


def seen_of(tmp_path: Path, *content: appserver.InputText | appserver.InputImage) -> Any:
    """What the model is sent of a result with this content."""
    with codex(tmp_path, calling(call(0))) as (pipe, provider, cwd):
        thread_id = pipe.begin(cwd, message("user", "hi"), declared=(WEATHER,))
        pipe.answer(pipe.asked(thread_id)[0], *content)
        assert pipe.end(thread_id) == "completed"
        (result,) = results(provider.requests[1])
        return result["output"]


def test_a_step_that_is_interrupted_is_the_last(tmp_path: Path) -> None:
    with codex(tmp_path, calling(call(0), call(1))) as (pipe, provider, cwd):
        thread_id = pipe.begin(cwd, message("user", "hi"), declared=(WEATHER,))
        pipe.step(thread_id)
        rpc_id, _ = pipe.asked(thread_id)
        said = len(pipe.raw_items(thread_id))
        assert pipe.interrupt(thread_id) == "interrupted"
        # What Codex adds to the history by itself has the turn's own id.
        added = pipe.raw_items(thread_id)[said:]
        assert [(item["type"], item.get("call_id")) for item in added] == [
            ("function_call_output", "call_0"),
            ("function_call_output", "call_1"),
            ("message", None),
        ]
        assert added[-1]["content"][0]["text"].startswith("<turn_aborted>")
        pipe.answer(rpc_id, appserver.InputText("late"))
        unsubscribed = pipe.call(
            "thread/unsubscribe", appserver.ThreadUnsubscribeParams(thread_id)
        )
        assert unsubscribed.status == "unsubscribed"
        assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        (call(0, "nobody"), "unsupported call: nobody"),
        (call(0, arguments='{"city":'), "failed to parse function arguments: EOF while parsing"),
        (call(0, arguments=""), "failed to parse function arguments: EOF while parsing"),
        (call(0, arguments='{"a":"\\ud83d"}'), "failed to parse function arguments: unexpected"),
    ],
    ids=["unknown", "cut", "empty", "surrogate"],
)
def test_codex_answers_some_calls_by_itself(
    tmp_path: Path, wrong: FunctionCall, answer: str
) -> None:
    with codex(tmp_path, calling(wrong)) as (pipe, provider, cwd):
        thread_id = pipe.begin(cwd, message("user", "hi"), declared=(WEATHER,))
        assert pipe.end(thread_id) == "completed"
        assert pipe.of(thread_id, "item/tool/call") == []
        (result,) = results(provider.requests[1])
        assert result["output"].startswith(answer)


def test_a_turn_that_is_injected_again_is_to_the_model_the_same(tmp_path: Path) -> None:
    first = (
        Reasoning((("Look", "ing."),)),
        Message(("Let me see.",), phase="commentary"),
        call(0, arguments='{"n": 1.50}'),
        call(1),
    )
    with codex(tmp_path, calling(*first)) as (pipe, provider, cwd):
        waiting = pipe.begin(cwd, message("user", "hi"), declared=(WEATHER,))
        pipe.step(waiting)
        said = pipe.raw_items(waiting)
        assert [item["type"] for item in said] == [
            "reasoning",
            "message",
            "function_call",
            "function_call",
        ]
        pipe.answer_all(waiting, 2)
        assert pipe.end(waiting) == "completed"
        given = [
            {
                "type": "function_call_output",
                "call_id": f"call_{number}",
                "output": f"result of call_{number}",
            }
            for number in range(2)
        ]
        again = pipe.begin(cwd, message("user", "hi"), *said, *given, declared=(WEATHER,))
        assert pipe.end(again) == "completed"
        _, continued, injected = (request.body["input"] for request in provider.requests)
        # Only what the client said, and what it gives back, has ids that Codex makes up.
        made_up = [0, 5, 6]
        for index, (one, other) in enumerate(zip(continued, injected, strict=True)):
            assert (one.pop("id") != other.pop("id")) == (index in made_up)
        assert continued == injected


def test_what_is_injected_comes_back_as_of_no_turn(tmp_path: Path) -> None:
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "content": None,
        "encrypted_content": "gAAAAsecret==",
    }
    with codex(tmp_path, {}) as (pipe, provider, cwd):
        thread_id = pipe.begin(cwd, message("user", "hi"), thought, declared=(WEATHER,))
        step = pipe.step(thread_id)
        echo = [
            frame["params"]
            for frame in pipe.of(thread_id, "rawResponseItem/completed")
            if frame["params"]["turnId"] != step.turn_id
        ]
        assert [params["turnId"] for params in echo] == ["auto-compact-0"] * 2
        # Kept as it came, an item may be injected once more.
        other = pipe.begin(cwd, *(params["item"] for params in echo), declared=(WEATHER,))
        assert pipe.end(other) == "completed"
        for request in provider.requests:
            assert request.body["input"][1] == thought


def test_no_functions_are_none(tmp_path: Path) -> None:
    with codex(tmp_path, {}) as (pipe, provider, cwd):
        params = appserver.ThreadStartParams(model="gpt-5.5", cwd=str(cwd))
        fields = msgspec.to_builtins(params)
        assert fields.pop("dynamicTools") == ()
        for given in (msgspec.defstruct("Absent", [*fields])(**fields), params):
            thread_id = pipe.call("thread/start", given).thread.id
            pipe.call("turn/start", appserver.TurnStartParams(thread_id=thread_id))
            assert pipe.end(thread_id) == "completed"
        absent, empty = (request.body for request in provider.requests)
        for body in (absent, empty):
            for key in ("client_metadata", "prompt_cache_key"):
                del body[key]
        assert absent == empty
        assert absent["tools"] == []


def test_functions_of_every_name_reach_the_model_and_are_called(tmp_path: Path) -> None:
    names = ("get_weather", "mcp__fs__read", "files.read", "天気", *sorted(tools.BUILT_IN))
    found = described(tuple(worker.Tool(name) for name in names))

    def script(request: Request) -> Stream:
        if results(request):
            return Stream((Message(("done",)),))
        return Stream((call(0, found.alias(request.prompt)),))

    with codex(tmp_path, script) as (pipe, provider, cwd):
        for name in names:
            thread_id = pipe.begin(
                cwd, message("user", name), declared=tuple(worker.Tool(one) for one in names)
            )
            rpc_id, params = pipe.asked(thread_id)
            assert found.name(params.tool) == name
            pipe.answer(rpc_id)
            assert pipe.end(thread_id) == "completed"
        declared = provider.requests[0].body["tools"]
        assert [tool["name"] for tool in declared] == [tool.name for tool in found.dynamic_tools]


def test_a_hundred_and_twenty_eight_functions_arrive_as_they_were_reduced(tmp_path: Path) -> None:
    def schema(number: int) -> msgspec.Raw:
        city = {"type": "string", "description": "d" * 40 * number, "pattern": "^[A-Z]"}
        where = {"properties": {"city": city, "days": {"const": number}}, "required": ["days"]}
        return msgspec.Raw(msgspec.json.encode({"properties": {"where": where, "any": True}}))

    declared = tuple(
        worker.Tool(f"f{number}", "What it does.", schema(number)) for number in range(128)
    )
    with codex(tmp_path, {}) as (pipe, provider, cwd):
        thread_id = pipe.begin(cwd, message("user", "hi"), declared=declared)
        assert pipe.end(thread_id) == "completed"
        arrived = provider.requests[0].body["tools"]
    sent = described(declared).dynamic_tools
    assert [(one["name"], one["description"]) for one in arrived] == [
        (tool.name, tool.description) for tool in sent
    ]
    whole = [len(tool.input_schema) <= 5000 for tool in sent]
    assert [
        one["parameters"] == msgspec.json.decode(tool.input_schema)
        for one, tool in zip(arrived, sent, strict=True)
    ] == whole
    assert set(whole) == {True, False}
    assert "where.city: " + "d" * 40 * 127 in arrived[127]["description"]
