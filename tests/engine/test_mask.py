"""A masked log holds nobody's words, and as many characters as there were."""

import re
import string
import sys
import timeit
import typing
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import mask, segments
from machines import events, outputs
from tests import logs

WORD = "Zanzibar42"
"""A word that nothing but a content holds."""


def is_legible(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


@settings(deadline=None)
@given(st.text())
def test_a_masked_text_is_as_long_and_has_no_letter_digit_or_mark(text: str) -> None:
    masked = mask.mask_text(text)
    assert len(masked) == len(text)
    assert not any(map(is_legible, masked))
    assert mask.mask_text(masked) == masked


TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    | st.text('aB1 .,"\\\n\x7fé', min_size=1, max_size=3)
    | st.sampled_from(",a"),
    min_size=1,
)


@given(TEXTS)
def test_several_as_json_are_each_of_them(texts: list[str]) -> None:
    joined = b"[" + mask.join_masked(texts, b",\n") + b"]"
    assert msgspec.json.decode(joined) == [mask.mask_text(text) for text in texts]
    assert joined.count(b"\n") == len(texts) - 1


def test_no_code_point_of_any_script_is_legible_afterwards() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    parts = (everything[at : at + 5000] for at in range(0, len(everything), 5000))
    masked = "".join(map(mask.mask_text, parts))
    assert len(masked) == len(everything)
    assert not any(map(is_legible, masked))
    kept = {before for before, after in zip(everything, masked, strict=True) if before == after}
    assert {unicodedata.category(each) for each in kept if ord(each) > 127} == {
        *("Zs", "Zl", "Zp", "Cc"),
        *("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),
    }
    assert {chr(each) for each in range(128)} - kept == set(string.ascii_letters + string.digits)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Hello, world!", "*****, *****!"),
        ("a\tb\r\n\x00c", "*\t*\r\n\x00*"),
        ('{"city": "Paris", "n": -12.5}', '{"****": "*****", "*": -**.*}'),
        ("`x` ^ <use_tool> $1 + ~", "`*` ^ <***_****> $* + ~"),
        ("你好，世界。", "**，**。"),
        ("Привет-мир ١٢٣", "******-*** ***"),
        ("e\u0301 नमस्ते", "** ******"),
        ("Ⓐ🄰① ½ 〇 ª", "*** * * *"),
        ("👩‍👩‍👧 🇩🇪", "***** **"),
        ("a\u200db\U000e0041\ue000\u0378", "******"),
        ("\ud800", "*"),
    ],
)
def test_examples(text: str, masked: str) -> None:
    assert mask.mask_text(text) == masked


def logged_events() -> list[type[events.StreamEvent]]:
    return list(typing.get_args(segments.LoggedEvent))


KEPT = {
    "opened": "request_id completion_id model target worker endpoint effort versions",
    "reasoning_delta": "kind",
    "tool_called": "call_id name",
    "tool_call_delta": "call_id name",
    "tool_call_dropped": "call_id name",
    "turn_resumed": "thread_id",
    "park_missed": "reason",
    "turn_finished": "reason",
    "turn_failed": "kind code param",
    "timer_fired": "timer",
    "client_gone": "cause",
    "turn_started": "thread_id turn_id",
    "item_started": "item",
    "rpc_sent": "method",
    "retry_scheduled": "code",
    "fallback_taken": "model worker code",
    "fallback_skipped": "model worker code",
    "worker_changed": "worker trigger",
    "terminal": "kind emission_trigger finish_reasons finish_words code cause body_hash"
    " tool_buffers_aborted",
}
"""Fields with texts that are ids, names or words of an API. Every other text is a content."""


def filled(annotation: Any) -> Any:
    """A value of a field's type with the word wherever it can be."""
    if annotation is str or WORD in typing.get_args(annotation):
        return WORD
    if annotation is msgspec.Raw:
        return msgspec.Raw(f'{{"user":"{WORD}"}}'.encode())
    if annotation == dict[str, str]:
        return {"turntape": WORD}
    if annotation == dict[str, str | int]:
        return {"message": WORD}
    options = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        return (filled(options[0]),)
    if typing.get_origin(annotation) is typing.Literal:
        return WORD
    if str in options:
        return WORD
    return next((filled(each) for each in options if typing.get_origin(each)), 1)


@pytest.mark.parametrize("kind", logged_events(), ids=lambda kind: kind.__name__)
def test_of_an_event_only_names_stay_legible(kind: type[events.StreamEvent]) -> None:
    hints = typing.get_type_hints(kind)
    fields = {name: filled(hints[name]) for name in kind.__struct_fields__}
    masked = mask.mask_event(kind(**fields))
    tag = str(kind.__struct_config__.tag)
    legible = {
        name
        for name in kind.__struct_fields__
        if WORD in msgspec.json.encode(getattr(masked, name)).decode()
    }
    assert legible == set(KEPT.get(tag, "").split())


@pytest.mark.parametrize("text", ["é, ", "a, ", '"\\', "," * 3])
def test_of_a_long_text_nothing_but_its_length_is_kept(text: str) -> None:
    longest = (text * mask.LONG_TEXT)[: mask.LONG_TEXT]
    assert mask.mask_text(longest) == mask.mask_text(text[:1]) + mask.mask_text(longest[1:])
    longer = longest + "!"
    assert mask.mask_text(longer) == "*" * len(longer)
    for texts in ([longer], ["a, b", longer, "c"]):
        joined = b"[" + mask.join_masked(texts, b",") + b"]"
        assert msgspec.json.decode(joined) == [mask.mask_text(text) for text in texts]


def test_a_long_text_takes_no_longer_for_its_script() -> None:
    def seconds(text: str) -> float:
        return min(timeit.repeat(lambda: mask.mask_text(text), number=1, repeat=5))

    assert seconds("ж" * (8 << 20)) < 10 * seconds("x" * (8 << 20))


CODES = (
    "context_length_exceeded",
    "1500",
    "model_not_found",
    "content-filter.v2",
    "messages[2].content[0].image_url.url",
    "stop",
    "MAX_TOKENS",
    "agentMessage",
)
"""Spelled as a code, a word for an end, or the path of a parameter."""

NO_CODES = (
    "The secret is 42",
    "https://host.example/v1?key=abc",
    "sk-proj-9Fh2kd83KslQpz7Tb",
    "Bearer sk-abcdefgh",
    "eyJhbGciOiJIUzI1NiJ9",
    "größe",
    "x" * 65,
    "a_" * 50_000,
)
"""What an upstream may put where a code belongs."""


@pytest.mark.parametrize("code", CODES)
def test_a_code_stays(code: str) -> None:
    assert mask.mask_code(code) == code


@pytest.mark.parametrize("text", NO_CODES)
def test_what_is_no_code_is_masked_wherever_a_code_belongs(text: str) -> None:
    hidden = mask.mask_text(text)
    failed = events.TurnFailed("upstream_error", text, text, param=text)
    masked = mask.mask_event(failed)
    assert masked == events.TurnFailed("upstream_error", hidden, hidden, param=hidden)
    assert mask.mask_event(events.TurnFinished(text)) == events.TurnFinished(hidden)
    terminal = msgspec.structs.replace(logs.TERMINAL, code=text, finish_words=(text, None))
    masked = mask.mask_event(terminal)
    assert masked == msgspec.structs.replace(terminal, code=hidden, finish_words=(hidden, None))
    for event in (
        events.RetryScheduled(1, 0, text),
        events.FallbackTaken("m", "w", text),
        events.ItemStarted(text),
    ):
        assert hidden in msgspec.structs.astuple(mask.mask_event(event))


@pytest.mark.parametrize("text", ["two words", "größe", "x" * 129, "a\nb"])
def test_what_is_no_id_or_name_is_masked_where_one_belongs(text: str) -> None:
    hidden = mask.mask_text(text)
    assert mask.mask_event(events.ToolCallDelta(0, text, text)) == events.ToolCallDelta(
        0, hidden, hidden
    )
    assert mask.mask_event(events.TurnStarted(text, text)) == events.TurnStarted(hidden, hidden)
    joined = outputs.Decision(joined=(outputs.Joined(3, text),))
    assert mask.mask_decision(joined).joined == (outputs.Joined(3, hidden),)


def test_the_name_of_a_block_that_is_no_call_is_text() -> None:
    pieces = tuple(outputs.Piece(kind, 40, "readNote") for kind in ("verbatim", "call"))
    masked = mask.mask_decision(outputs.Decision(80, None, pieces))
    assert masked == outputs.Decision(
        80,
        None,
        (outputs.Piece("verbatim", 40, "********"), outputs.Piece("call", 40, "readNote")),
    )


def test_a_format_that_no_schema_knows_is_masked() -> None:
    schema = {"properties": {"a": {"type": "string", "format": "geheim"}}}
    masked = masked_request({"tools": [{"parameters": schema}]})
    assert masked["tools"][0]["parameters"]["properties"]["a"]["format"] == "******"


def test_a_masked_delta_keeps_its_length_and_its_choice() -> None:
    assert mask.mask_event(events.TextDelta("Größe 3", 2)) == events.TextDelta("***** *", 2)


def test_what_a_worker_said_is_masked_but_not_its_version() -> None:
    failed = events.WorkerChanged("codex-0", "handshake_failed", {"message": "too old: 0.1"})
    assert mask.mask_event(failed) == events.WorkerChanged(
        "codex-0", "handshake_failed", {"message": "*** ***: *.*"}
    )
    done = events.WorkerChanged("codex-0", "handshake_done", {"version": "0.163.0", "pid": 7})
    assert mask.mask_event(done) == done


def test_a_masked_opening_says_so_and_holds_no_key_to_the_hashes() -> None:
    opened = logs.opened(
        stop=("END", "\n\n"), hash_key="00" * 16, request=msgspec.Raw(b'{"user": "Jane"}')
    )
    masked = mask.mask_event(opened)
    assert isinstance(masked, events.Opened)
    assert (masked.content, masked.stop, masked.hash_key) == ("masked", ("***", "\n\n"), None)
    assert bytes(masked.request) == b'{"user":"****"}'


def test_a_full_opening_keeps_everything_but_secrets() -> None:
    request = b'{"user":\n "Jane", "tools": [{"authorization": "abc"}]}'
    opened = logs.opened(stop=("END",), hash_key="00" * 16, request=msgspec.Raw(request))
    kept = mask.keep_event(opened)
    assert isinstance(kept, events.Opened)
    assert (kept.content, kept.stop, kept.hash_key) == ("full", ("END",), "00" * 16)
    assert bytes(kept.request) == b'{"user":"Jane","tools":[{}]}'
    delta = events.TextDelta("Jane")
    assert mask.keep_event(delta) is delta


@pytest.mark.parametrize(
    ("request_", "key"), [(b'{"user": "Jane"}', "00"), (b'{"metadata": {"api_key": "a"}}', None)]
)
def test_a_body_that_would_repeat_a_secret_cannot_be_made_again(
    request_: bytes, key: str | None
) -> None:
    opened = logs.opened(endpoint="responses", hash_key="00", request=msgspec.Raw(request_))
    kept = mask.keep_event(opened)
    assert isinstance(kept, events.Opened)
    assert kept.hash_key == key


def masked_request(request: Any) -> Any:
    return msgspec.json.decode(mask.mask_request(msgspec.json.encode(request)))


NAMES = {
    "model": "org/model-5.5:free",
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.7,
    "top_p": 1,
    "n": 2,
    "seed": -7,
    "max_tokens": 100,
    "reasoning_effort": "high",
    "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"city": {"type": ["string", "null"], "format": "date"}},
                "required": ["city"],
                "additionalProperties": False,
                "$defs": {"Ort": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/Ort"}]}},
            },
        },
    },
    "messages": [
        {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "index": 0}]},
        {"role": "tool", "tool_call_id": "call_1", "name": "get_weather", "content": None},
    ],
    "input": [{"type": "function_call", "call_id": "call_2", "name": "get_time", "id": "fc_1"}],
    "tools": [{"type": "function", "function": {"name": "get_weather", "strict": None}}],
}
"""A request of nothing but what a masked log keeps."""


def test_names_and_settings_of_a_request_stay() -> None:
    assert masked_request(NAMES) == NAMES
    assert masked_request({"tool_choice": "auto"}) == {"tool_choice": "auto"}


def test_the_words_of_a_request_go_wherever_they_are() -> None:
    part = {"type": "text", "text": WORD}
    schema = {
        "title": WORD,
        "description": WORD,
        "default": {WORD: WORD},
        "enum": [WORD, 421, {"a": WORD}],
        "examples": [[WORD]],
        "const": WORD,
        "pattern": WORD,
        "x-comment": WORD,
        "minimum": 421,
    }
    request = {
        "model": "gpt-5.5",
        "messages": [
            {"role": "user", "name": WORD, "content": WORD},
            {"role": "system", "content": [part, {"type": "input_text", "text": WORD}]},
            {"role": WORD + " is no role", "refusal": WORD},
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "f", "arguments": f'{{"a":"{WORD}"}}'}}],
                "function_call": {"name": "f", "arguments": {WORD: WORD}},
            },
            {"role": "user", "content": [{"type": "file", "file": {"filename": WORD}}]},
        ],
        "input": [{"type": "function_call_output", "output": WORD}, {"arguments": WORD}],
        "instructions": WORD,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": WORD,
                    "parameters": {"properties": {"a": schema, "b": {"items": schema}}},
                },
            }
        ],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        "stop": [WORD],
        "user": WORD,
        "safety_identifier": WORD,
        "metadata": {WORD: WORD, "n": 421},
        "prediction": {"type": "content", "content": WORD},
        "logit_bias": {"421": -100},
        "unheard_of": {"deep": [{"deeper": WORD, "421": 421, "yes": True}]},
        f"{WORD} is no name": WORD,
    }
    text = mask.mask_request(msgspec.json.encode(request)).decode()
    assert WORD not in text
    assert "421" not in text
    masked = msgspec.json.decode(text)
    assert masked["messages"][0] == {"role": "user", "name": "*" * 10, "content": "*" * 10}
    assert masked["messages"][3]["tool_calls"] == [
        {"function": {"name": "f", "arguments": '{"*":"**********"}'}}
    ]
    function = masked["tools"][0]["function"]
    assert set(function["parameters"]["properties"]["a"]) == set(schema)
    assert masked["unheard_of"] == {"****": [{"******": "*" * 10, "***": "*"}]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def leaves(value: Any) -> Iterator[Any]:
    """What a JSON value is made of, names of members included."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from leaves(member)
    else:
        yield value


@settings(deadline=None)
@given(json_values)
def test_of_what_nobody_knows_nothing_is_legible(value: Any) -> None:
    for leaf in leaves(masked_request({"metadata": {"a": value}})["metadata"]):
        assert leaf is None or re.fullmatch(r"data:\d+", leaf) or not any(map(is_legible, leaf))


@settings(deadline=None)
@given(json_values)
def test_any_json_is_masked_to_json(value: Any) -> None:
    body = msgspec.json.encode(value)
    assert b"\n" not in mask.mask_request(body)
    msgspec.json.decode(mask.mask_request(body))
    msgspec.json.decode(mask.drop_secrets(body))


def test_media_leave_their_length() -> None:
    url = "data:image/png;base64," + "QUJD" * 1000
    part = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    audio = {"type": "input_audio", "input_audio": {"data": "QUJD" * 1000, "format": "wav"}}
    masked = masked_request({"messages": [{"role": "user", "content": [part, audio]}]})
    assert masked["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:4022", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "data:4000", "format": "wav"}},
    ]


@pytest.mark.parametrize("keep", [mask.mask_request, mask.drop_secrets])
def test_keys_and_tokens_enter_in_no_mode(keep: Any) -> None:
    tool = {
        "type": "mcp",
        "server_label": "files",
        "server_url": "https://example.net",
        "headers": {"X-Anything": "S3CR3T"},
        "authorization": "S3CR3T",
    }
    request = {
        "tools": [tool],
        "metadata": {"api_key": "S3CR3T", "Auth-Token": "S3CR3T", "a": {"password": "S3CR3T"}},
    }
    text = keep(msgspec.json.encode(request)).decode()
    for word in ("S3CR3T", "headers", "authorization", "password"):
        assert word not in text
    assert msgspec.json.decode(text)["tools"][0]["server_label"] == "files"


def test_a_field_that_is_named_like_a_secret_stays_in_its_schema() -> None:
    parameters = {"properties": {"token": {"type": "string"}}, "required": ["token"]}
    request = {"tools": [{"parameters": parameters}], "max_tokens": 5}
    body = msgspec.json.encode(request)
    assert msgspec.json.decode(mask.drop_secrets(body)) == request
    assert masked_request(request) == request


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a":"Zanzibar"', b"\xff", b'"\xff"', b"[" * 99_999 + b"]" * 99_999]
)
def test_what_is_no_readable_json_leaves_null(body: bytes) -> None:
    assert mask.mask_request(body) == b"null"
    assert mask.drop_secrets(body) == b"null"


def test_the_last_of_two_members_of_one_name_does_not_hide_the_first() -> None:
    assert mask.drop_secrets(b'{"token":"S3CR3T","token":{}}') == b'{"token":{}}'
    assert mask.mask_request(b'{"user":"Jane","user":"*"}') == b'{"user":"*"}'
