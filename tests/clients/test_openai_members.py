"""The official Python SDK gets what an upstream says beyond the API, in a stream and in a body."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pydantic
import pytest
from openai import OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.support.process import serving
from tests.support.providers import upstreams
from tests.support.providers.upstreams import chunk


def token(text: str, logprob: float) -> dict[str, Any]:
    """A token of `logprobs`."""
    return {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": []}


TOKENS: Final = [token("Hel", -0.25), token("lo", -1.5), token("!", -0.125)]

CITATION: Final = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 3, "title": "T", "url": "https://a.example/x"},
}

SIGNATURE: Final = {"google": {"thought_signature": "c2lnbmVk"}}

COUNTS: Final = {
    **upstreams.usage(7, 2),
    "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 1, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1, "image_tokens": 4},
    "cost": 0.00125,
    "cost_details": {"upstream_inference_cost": None, "free": 0},
}

STANDING: Final = {"system_fingerprint": "fp_1", "service_tier": "flex", "provider": "DeepInfra"}


def detail(text: str, **more: Any) -> dict[str, Any]:
    """An entry of `reasoning_details`, as OpenRouter streams it."""
    return {"type": "reasoning.text", "format": "f-v1", "index": 0, "text": text, **more}


def choice(delta: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A chunk of one choice."""
    return chunk(choices=[{"index": 0, "delta": delta, **members}], **STANDING)


def spoken(text: str, at: int) -> dict[str, Any]:
    """A chunk of text with its tokens."""
    return choice({"content": text}, logprobs={"content": [TOKENS[at]], "refusal": None})


CALL: Final = {
    "index": 0,
    "id": "c1",
    "type": "function",
    "function": {"name": "look", "arguments": "{}"},
    "extra_content": SIGNATURE,
}

WHOLE: Final = [
    chunk(choices=[], prompt_filter_results=[{"prompt_index": 0}], **STANDING),
    choice({"role": "assistant", "content": ""}, content_filter_results={}),
    choice({"reasoning": "I ", "reasoning_details": [detail("I ")]}),
    choice({"reasoning": "see", "reasoning_details": [detail("see", signature="s")]}),
    spoken("Hel", 0),
    spoken("lo", 1),
    spoken("!", 2),
    choice({"annotations": [CITATION]}),
    choice({"tool_calls": [CALL]}),
    chunk(
        choices=[
            {
                "index": 0,
                "delta": {},
                "finish_reason": "tool_calls",
                "native_finish_reason": "TOOL_USE",
                "content_filter_results": {"hate": {"filtered": False}},
            }
        ],
        x_groq={"id": "req_1"},
        **STANDING,
    ),
    chunk(choices=[], usage=COUNTS, citations=["https://a.example/x"], **STANDING),
]
"""An answer with members of every place: in choices, deltas, calls, chunks and counts."""


def by_prompt(request: upstreams.Request) -> upstreams.Answer:
    """The answer that a prompt spells as JSON: chunks of a stream, or a completion."""
    told = json.loads(request.prompt)
    if isinstance(told, list):
        return upstreams.stream(*told)
    return upstreams.response(200, told)


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Serve]:
    with upstreams.stage(by_prompt) as stage:
        yield stage.server
        replayed = stage.server.replay()
        assert replayed.returncode == 0, replayed.stdout


@pytest.fixture
def client(server: serving.Serve) -> OpenAI:
    return OpenAI(
        base_url=server.url, api_key="unused", max_retries=0, _strict_response_validation=True
    )


def ask(client: OpenAI, told: Any, **options: Any) -> ChatCompletion:
    """The body that an upstream's answer becomes."""
    messages: Any = [{"role": "user", "content": json.dumps(told)}]
    whole = client.chat.completions.create(model="m", messages=messages, **options)
    assert isinstance(whole, ChatCompletion)
    return whole


def stream(client: OpenAI, told: Any, **options: Any) -> list[ChatCompletionChunk]:
    """The chunks that it becomes."""
    usage: Any = {"include_usage": True}
    messages: Any = [{"role": "user", "content": json.dumps(told)}]
    options = {"stream_options": usage, **options}
    with client.chat.completions.create(
        model="m", messages=messages, stream=True, **options
    ) as events:
        return list(events)


def extra(model: pydantic.BaseModel) -> dict[str, Any]:
    """The members that the SDK's types do not know."""
    return model.model_extra or {}


def test_k30_k83_a_body_has_what_the_upstream_said_beyond_the_api(client: OpenAI) -> None:
    whole = ask(client, WHOLE)
    assert (whole.system_fingerprint, whole.service_tier) == ("fp_1", "flex")
    assert extra(whole) == {
        "provider": "DeepInfra",
        "prompt_filter_results": [{"prompt_index": 0}],
        "x_groq": {"id": "req_1"},
        "citations": ["https://a.example/x"],
    }
    (found,) = whole.choices
    assert found.logprobs is not None
    assert found.logprobs.content is not None
    assert [each.to_dict() for each in found.logprobs.content] == TOKENS
    assert extra(found) == {
        "native_finish_reason": "TOOL_USE",
        "content_filter_results": {"hate": {"filtered": False}},
    }
    message = found.message
    assert message.content == "Hello!"
    assert [each.to_dict() for each in message.annotations or []] == [CITATION]
    assert extra(message) == {
        "reasoning_content": "I see",
        "reasoning": "I see",
        "reasoning_details": [detail("I see", signature="s")],
    }
    (call,) = message.tool_calls or []
    assert extra(call) == {"extra_content": SIGNATURE}
    assert whole.usage is not None
    assert whole.usage.to_dict() == COUNTS


def test_k30_k83_a_stream_has_it_in_the_chunks_that_it_came_in(client: OpenAI) -> None:
    chunks = stream(client, WHOLE)
    assert {(each.system_fingerprint, each.service_tier) for each in chunks} == {("fp_1", "flex")}
    assert all(extra(each)["provider"] == "DeepInfra" for each in chunks)
    deltas = [each.choices[0] for each in chunks if each.choices]
    tokens = [(each.delta.content, each.logprobs) for each in deltas if each.logprobs]
    assert [(text, found.content and found.content[0].token) for text, found in tokens] == [
        ("Hel", "Hel"),
        ("lo", "lo"),
        ("!", "!"),
    ]
    thoughts = [extra(each.delta) for each in deltas if "reasoning" in extra(each.delta)]
    assert thoughts == [
        {"reasoning_content": said, "reasoning": said, "reasoning_details": details}
        for said, details in (
            ("I ", [detail("I ")]),
            ("see", [detail("see", signature="s")]),
        )
    ]
    (cited,) = [each for each in deltas if "annotations" in extra(each.delta)]
    assert extra(cited.delta) == {"annotations": [CITATION]}
    (called,) = [each.delta.tool_calls[0] for each in deltas if each.delta.tool_calls]
    assert extra(called) == {"extra_content": SIGNATURE}
    last = deltas[-1]
    assert last.finish_reason == "tool_calls"
    assert extra(last)["native_finish_reason"] == "TOOL_USE"
    assert [extra(each).get("x_groq") for each in chunks[-2:]] == [{"id": "req_1"}, None]
    assert extra(chunks[-1])["citations"] == ["https://a.example/x"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.to_dict() == COUNTS


def folded(client: OpenAI, told: Any, **options: Any) -> Any:
    """A stream as the SDK adds it up."""
    state = ChatCompletionStreamState()
    for each in stream(client, told, **options):
        state.handle_chunk(each)
    return state.current_completion_snapshot.to_dict(exclude_none=True)


class Verdict(pydantic.BaseModel):
    """A form that an answer is wanted in."""

    ok: bool


def test_k30_k31_parse_has_a_refusal_its_tokens_and_citations(client: OpenAI) -> None:
    tokens = {"content": None, "refusal": [token("No", -0.5)]}
    said = {"content": None, "refusal": "No", "annotations": [CITATION]}
    for told in (
        [choice(said, logprobs=tokens), choice({}, finish_reason="stop")],
        body_of(said, logprobs=tokens),
    ):
        messages: Any = [{"role": "user", "content": json.dumps(told)}]
        parsed = client.chat.completions.parse(
            model="m", messages=messages, response_format=Verdict, logprobs=True
        )
        with client.chat.completions.stream(
            model="m", messages=messages, response_format=Verdict, logprobs=True
        ) as events:
            kinds = [event.type for event in events]
            final = events.get_final_completion()
        assert {"refusal.delta", "refusal.done", "logprobs.refusal.delta"} <= set(kinds)
        for answer in (parsed, final):
            (found,) = answer.choices
            assert found.message.refusal == "No"
            assert found.message.parsed is None
            assert found.finish_reason == "stop"
            assert found.logprobs is not None
            assert [each.token for each in found.logprobs.refusal or []] == ["No"]
            cited: Any = found.message.annotations or []
            assert [each if isinstance(each, dict) else each.to_dict() for each in cited] == [
                CITATION
            ]


@pytest.mark.parametrize("counted", [True, False])
def test_a_stream_added_up_by_the_sdk_is_the_body(client: OpenAI, counted: bool) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": counted}}
    added = folded(client, WHOLE, **options)["choices"][0]
    whole: Any = ask(client, WHOLE).to_dict(exclude_none=True)["choices"]
    for found in (whole[0], added):
        for name in ("native_finish_reason", "content_filter_results"):
            found.pop(name, None)  # of a choice the SDK's sum has none but those that it knows
        for each in found["message"]["reasoning_details"]:
            each["format"] = "f-v1"  # a label, which it doubles
        for each in found["message"]["tool_calls"]:
            each.pop("index", None)
    assert whole == [added]


def test_members_behind_the_finish_reach_who_wants_no_counts(client: OpenAI) -> None:
    told = [
        chunk("a"),
        chunk(finish="stop"),
        chunk(choices=[], usage=upstreams.usage(7, 2), timings={"predicted_ms": 1.5}),
    ]
    chunks = stream(client, told, stream_options={"include_usage": False})
    assert all(each.choices for each in chunks), "some clients know no chunk without a choice"
    assert extra(chunks[-1]) == {"timings": {"predicted_ms": 1.5}}
    assert chunks[-1].choices[0].delta.content is None
    assert chunks[-2].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("counted", [True, False])
def test_members_of_a_chunk_that_tells_nothing_go_with_the_finish(
    client: OpenAI, counted: bool
) -> None:
    told = [
        chunk("x"),
        chunk(choices=[{"index": 0, "delta": {}}], citations=["u"], x_groq={"id": "r"}),
        chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], timings={"ms": 1}),
    ]
    chunks = stream(client, told, stream_options={"include_usage": counted})
    (finish,) = (each for each in chunks if each.choices and each.choices[0].finish_reason)
    members = {"citations": ["u"], "x_groq": {"id": "r"}, "timings": {"ms": 1}}
    assert extra(finish) == members
    assert extra(ask(client, told)) == members


def test_members_wait_for_the_text_that_they_came_with(client: OpenAI) -> None:
    """A text may be held until it is known to be no call."""
    tools: Any = [{"type": "function", "function": {"name": "look"}}]
    told = [spoken("Hel", 0), spoken("<use_", 1), spoken("x", 2), choice({}, finish_reason="stop")]
    whole = ask(client, told, tools=tools)
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    assert [each.token for each in logprobs.content or []] == ["Hel", "lo", "!"]
    chunks = [each.choices[0] for each in stream(client, told, tools=tools) if each.choices]
    tokens = [each.logprobs.content for each in chunks if each.logprobs]
    assert [found[0].token for found in tokens if found] == ["Hel", "lo", "!"]
    assert "".join(each.delta.content or "" for each in chunks) == "Hel<use_x"


@pytest.mark.parametrize(("n", "given"), [(2, 1), (3, 2), (2, 2)])
def test_k41_choices_are_as_many_as_the_upstream_gives(client: OpenAI, n: int, given: int) -> None:
    told = [
        *(chunk(choices=[{"index": at, "delta": {"content": f"a{at}"}}]) for at in range(given)),
        *(
            chunk(choices=[{"index": at, "delta": {}, "finish_reason": "stop"}])
            for at in range(given)
        ),
        upstreams.counted(7, 2),
    ]
    body = {
        **chunk(),
        "object": "chat.completion",
        "choices": [
            {
                "index": at,
                "message": {"role": "assistant", "content": f"a{at}"},
                "finish_reason": "stop",
            }
            for at in range(given)
        ],
        "usage": upstreams.usage(7, 2),
    }
    for answer in (told, body):
        whole = ask(client, answer, n=n)
        texts = [(each.index, each.message.content) for each in whole.choices]
        assert texts == [(at, f"a{at}") for at in range(given)]
        chunks = stream(client, answer, n=n)
        roles = [
            each.index for found in chunks for each in found.choices if each.delta.role is not None
        ]
        assert roles == list(range(n))
        ended = [
            each.index
            for found in chunks
            for each in found.choices
            if each.finish_reason is not None
        ]
        assert ended == list(range(given))
        assert chunks[-1].usage is not None


@pytest.mark.parametrize("given", [(1, 0), (1,), (0,)], ids=str)
def test_k41_the_sdk_adds_up_choices_in_whatever_order_they_come(
    client: OpenAI, given: tuple[int, ...]
) -> None:
    told = [
        *(chunk(choices=[{"index": at, "delta": {"content": f"a{at}"}}]) for at in given),
        *(chunk(choices=[{"index": at, "delta": {}, "finish_reason": "stop"}]) for at in given),
    ]
    messages: Any = [{"role": "user", "content": json.dumps(told)}]
    with client.chat.completions.stream(model="m", messages=messages, n=2) as events:
        whole = events.get_final_completion()
    ended = {each.index: each.message.content for each in whole.choices if each.finish_reason}
    assert ended == {at: f"a{at}" for at in given}
    missing = [each.message.content for each in whole.choices if not each.finish_reason]
    assert missing == [""] * (2 - len(given))


def body_of(message: dict[str, Any], finish: str = "stop", **members: Any) -> dict[str, Any]:
    """A whole completion."""
    said = {"role": "assistant", **message}
    choices = [{"index": 0, "message": said, "finish_reason": finish, **members}]
    return {**chunk(), "object": "chat.completion", "choices": choices}


NO_MEMBERS: Final = {name: value for name, value in CALL.items() if name != "extra_content"}


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": "", "tool_calls": [NO_MEMBERS]}, ""),
        ({"content": None, "tool_calls": [NO_MEMBERS]}, None),
        ({"tool_calls": [NO_MEMBERS]}, None),
        ({"content": None}, None),
        ({"content": ""}, ""),
        ({"content": None, "refusal": "No."}, None),
        ({"content": "", "refusal": "No."}, ""),
        ({"content": "a", "tool_calls": [NO_MEMBERS]}, "a"),
    ],
)
def test_k85_a_content_without_text_is_as_the_upstream_has_it(
    client: OpenAI, message: dict[str, Any], content: str | None
) -> None:
    assert ask(client, body_of(message)).choices[0].message.content == content
    parts = [choice(message), choice({}, finish_reason="stop")]
    assert ask(client, parts).choices[0].message.content == content
    late = [choice({"content": None, "role": "assistant"}), *parts]
    assert ask(client, late).choices[0].message.content == content


CUSTOM: Final = {
    "id": "c1",
    "type": "custom",
    "custom": {"name": "shell", "input": 'ls "a" {'},
}


def test_k77_a_custom_call_is_one_in_a_body(client: OpenAI) -> None:
    pieces: list[dict[str, Any]] = [
        {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls "}},
        {"index": 0, "custom": {"input": '"a"'}},
        {"index": 0, "custom": {"input": " {"}},
    ]
    streamed = [choice({"tool_calls": [each]}) for each in pieces]
    for told in (
        body_of({"content": None, "tool_calls": [CUSTOM]}, "tool_calls"),
        [*streamed, choice({}, finish_reason="tool_calls")],
    ):
        (found,) = ask(client, told).choices
        assert found.finish_reason == "tool_calls"
        assert [each.to_dict() for each in found.message.tool_calls or []] == [CUSTOM]


def test_k77_a_custom_call_is_one_in_a_stream(server: serving.Serve) -> None:
    """As OpenAI streams it; the SDK's type of a chunk's call knows functions alone."""
    told = json.dumps(body_of({"content": None, "tool_calls": [CUSTOM]}, "tool_calls"))
    asked = {"model": "m", "messages": [{"role": "user", "content": told}]}
    frames = server.stream(asked).split(b"\n\n")
    chunks = [json.loads(each[6:]) for each in frames if each.startswith(b"data: {")]
    deltas = [each["choices"][0]["delta"] for each in chunks if each["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert calls == [{"index": 0, **CUSTOM}]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_audio_is_in_a_body_once_all_of_it_has_come(client: OpenAI) -> None:
    pieces: list[dict[str, Any]] = [
        {"id": "audio_1", "transcript": "Hel"},
        {"id": "audio_1", "data": "SGVs", "transcript": "lo"},
        {"data": "bG8="},
    ]
    told = [choice({"audio": each}) for each in pieces]
    end = choice({}, finish_reason="stop")
    assert ask(client, [*told, end]).choices[0].message.audio is None
    last = choice({"audio": {"expires_at": 7}})
    audio = ask(client, [*told, last, end]).choices[0].message.audio
    assert audio is not None
    assert audio.to_dict() == {
        "id": "audio_1",
        "data": "SGVsbG8=",
        "transcript": "Hello",
        "expires_at": 7,
    }


SOUNDING: Final = [
    choice({"audio": {"id": "a", "data": "bG8=", "transcript": "x", "expires_at": 7}}),
    choice({}, finish_reason="stop"),
]
"""An answer that can be heard."""

LATE: Final = [
    choice({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look"}}]}),
    choice({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    choice({"tool_calls": [{"index": 0, "extra_content": SIGNATURE}]}),
    choice({}, finish_reason="tool_calls"),
]
"""A call whose further members come behind its arguments."""


def test_k30_members_of_a_call_may_come_late(client: OpenAI) -> None:
    (call,) = ask(client, LATE).choices[0].message.tool_calls or []
    assert extra(call) == {"extra_content": SIGNATURE}
    (added,) = folded(client, LATE)["choices"][0]["message"]["tool_calls"]
    assert added["extra_content"] == SIGNATURE


FUNCTIONS: Final = [{"name": "look", "parameters": {}}]
"""What a client of the older form declares."""


def test_an_older_call_has_the_members_of_its_function_whenever_they_come(
    client: OpenAI,
) -> None:
    first = {"name": "look", "arguments": '{"a"'}
    told = [
        choice({"function_call": first}),
        choice({"function_call": {"arguments": ":1}"}}),
        choice({"function_call": {"signature": "S"}}),
        choice({}, finish_reason="function_call"),
    ]
    call = {"name": "look", "arguments": '{"a":1}', "signature": "S"}
    body: Any = ask(client, told, functions=FUNCTIONS).to_dict()
    for whole in (body, folded(client, told, functions=FUNCTIONS)):
        assert whole["choices"][0]["message"]["function_call"] == call


def test_k77_a_custom_call_is_one_for_a_client_of_the_older_form(
    client: OpenAI, server: serving.Serve
) -> None:
    lenient = OpenAI(base_url=server.url, api_key="unused", max_retries=0)
    call = {"index": 0, **CUSTOM, "function": {"z": 1}}
    late = {"index": 0, "custom": {"input": "!"}, "extra_content": SIGNATURE}
    told = [
        choice({"tool_calls": [call]}),
        choice({"tool_calls": [late]}),
        choice({}, finish_reason="tool_calls"),
    ]
    body: Any = ask(client, told, functions=FUNCTIONS).to_dict()
    for whole in (body, folded(lenient, told, functions=FUNCTIONS)):
        message = whole["choices"][0]["message"]
        assert "function_call" not in message
        (found,) = message["tool_calls"]
        assert found["custom"] == {"name": "shell", "input": 'ls "a" {!'}
        assert found["extra_content"] == SIGNATURE


def test_k77_a_custom_call_without_an_input_has_an_empty_one(client: OpenAI) -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "shell", "input": ""}}
    told = body_of({"content": None, "tool_calls": [call]}, "tool_calls")
    (found,) = ask(client, told).choices[0].message.tool_calls or []
    assert found.to_dict() == call


def test_a_masked_log_has_none_of_it_and_replays() -> None:
    with upstreams.stage(by_prompt, PROXY_EVENT_LOG="masked") as stage:
        asked = {
            "model": "m",
            "messages": [{"role": "user", "content": json.dumps(WHOLE)}],
            "stream_options": {"include_usage": True},
        }
        assert b"thought_signature" in stage.server.stream(asked)
        late = {"model": "m", "messages": [{"role": "user", "content": json.dumps(LATE)}]}
        assert b"thought_signature" in stage.server.stream(late)
        client = OpenAI(base_url=stage.server.url, api_key="unused", max_retries=0)
        assert ask(client, SOUNDING).choices[0].message.audio is not None
        records = json.dumps([each for each in stage.server.records() if "request" not in each])
        for word in ("DeepInfra", "c2lnbmVk", "a.example", "fp_1", "I see", "TOOL_USE", '"lo"'):
            assert word not in records
        for name in ("extra_content", "logprobs", "annotations", "citations", "x_groq", "cost"):
            assert f'"{name}"' in records
        replayed = stage.server.replay()
        assert replayed.returncode == 0, replayed.stdout


SHOWN_TOKENS: Final = [
    {**each, "top_logprobs": [{"token": "x", "logprob": -3.5, "bytes": [120]}]} for each in TOKENS
]

SHOWN_CITATION: Final = {"type": "url_citation", **CITATION["url_citation"]}  # type: ignore[dict-item]  # an object

CITED: Final = [
    *(
        choice(
            {"content": each["token"]},
            logprobs={
                "content": [
                    {**each, "bytes": None, "top_logprobs": [{"token": "x", "logprob": -3.5}]}
                ]
            },
        )
        for each in TOKENS
    ),
    choice({"annotations": [CITATION]}),
    choice({"tool_calls": [{"index": 0, **CUSTOM}]}),
    choice({}, finish_reason="tool_calls"),
]
"""A text with its tokens and a citation, and a custom call."""


def test_k30_k77_a_response_shows_what_the_api_has_a_place_for(client: OpenAI) -> None:
    whole = client.responses.create(model="m", input=json.dumps(CITED))
    message, call = whole.output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert part.text == "Hello!"
    assert [each.to_dict() for each in part.logprobs or []] == SHOWN_TOKENS
    assert [each.to_dict() for each in part.annotations] == [SHOWN_CITATION]
    assert call.type == "custom_tool_call"
    assert (call.call_id, call.name, call.input) == ("c1", "shell", 'ls "a" {')


def test_k30_k77_and_so_do_the_events_of_its_stream(client: OpenAI) -> None:
    with client.responses.create(model="m", input=json.dumps(CITED), stream=True) as stream:
        events = list(stream)
    deltas = [each for each in events if each.type == "response.output_text.delta"]
    tokens = [(each.delta, [found.token for found in each.logprobs]) for each in deltas]
    assert tokens == [("Hel", ["Hel"]), ("lo", ["lo"]), ("!", ["!"])]
    (cited,) = [each for each in events if each.type == "response.output_text.annotation.added"]
    assert cited.annotation is not None
    assert (cited.annotation.to_dict(), cited.annotation_index) == (SHOWN_CITATION, 0)
    (done,) = [each for each in events if each.type == "response.output_text.done"]
    assert [each.token for each in done.logprobs] == ["Hel", "lo", "!"]
    inputs = [each for each in events if each.type == "response.custom_tool_call_input.delta"]
    assert "".join(each.delta for each in inputs) == 'ls "a" {'
    (whole,) = [each for each in events if each.type == "response.custom_tool_call_input.done"]
    assert whole.input == 'ls "a" {'
    last = events[-1]
    assert last.type == "response.completed"
    message, call = last.response.output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert [each.to_dict() for each in part.logprobs or []] == SHOWN_TOKENS
    assert [each.to_dict() for each in part.annotations] == [SHOWN_CITATION]
    assert call.type == "custom_tool_call"


def test_a_response_with_citations_before_and_behind_its_text(client: OpenAI) -> None:
    told = [
        choice({"annotations": [CITATION]}),
        choice({"content": "a"}),
        choice({"tool_calls": [NO_MEMBERS]}),
        choice({"annotations": [CITATION]}),
        choice({}, finish_reason="tool_calls"),
    ]
    whole = client.responses.create(model="m", input=json.dumps(told))
    message, call = whole.output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert [each.to_dict() for each in part.annotations] == [SHOWN_CITATION]
    assert call.type == "function_call"


def test_tokens_without_a_text_of_their_own_are_in_an_event_too(client: OpenAI) -> None:
    told = [
        spoken("Hel", 0),
        choice({"content": ""}, logprobs={"content": [TOKENS[1]]}),
        choice({}, finish_reason="stop"),
    ]
    tokens = []
    with client.responses.stream(model="m", input=json.dumps(told)) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                tokens += [each.token for each in event.logprobs]
        (message,) = stream.get_final_response().output
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    whole = [each.token for each in message.content[0].logprobs or ()]
    assert tokens == whole == ["Hel", "lo"]
