"""A masked log holds nobody's words, and as many characters as there were."""

import string
import sys
import timeit
import typing
import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from engine import redaction
from engine.log.content import mask
from engine.log.read import segments
from machines import events, outputs, tooloptions
from tests.support.logs import logs

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
    # The request is masked before its stream opens: tests of `engine.log.content.keptrequest` hold
    # that.
    "opened": "request_id completion_id model target worker endpoint effort empty_message versions"
    " request key",
    "reasoning_delta": "kind member",
    "message_started": "phase",
    "message_completed": "phase",
    "extra_members": "place",
    "tool_called": "call_id name",
    "tool_call_delta": "call_id name extent kind",
    "tool_call_dropped": "call_id name",
    "turn_resumed": "thread_id process",
    "park_missed": "reason",
    "thread_reused": "thread_id",
    "reuse_missed": "reason",
    "thread_forked": "thread_id",
    "turn_finished": "reason no_text",
    "turn_failed": "kind code param word",
    "timer_fired": "timer",
    "client_gone": "cause",
    "turn_started": "thread_id turn_id process",
    "turn_changed": "trigger before after late_of",
    "thread_changed": "trigger before after late_of thread_id",
    "item_started": "item",
    "model_rerouted": "model reason",
    "members_dropped": "names",
    "rpc_sent": "method",
    "retry_scheduled": "code",
    "fallback_taken": "model worker code",
    "fallback_skipped": "model worker code",
    "worker_changed": "worker trigger",
    "request_rejected": "request_id code param method route path client key model",
    "terminal": "kind emission_trigger finish_reasons finish_words code cause body_hash"
    " usage_source tool_buffers_aborted longest_gap_owner process",
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
    if annotation is tooloptions.ToolOptions:
        return tooloptions.NO_TOOLS
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
    opened = logs.opened(model=text, target=text, effort=text)
    assert mask.mask_event(opened) == mask.mask_event(
        logs.opened(model=hidden, target=hidden, effort=hidden)
    )
    taken = events.FallbackTaken(text, "upstream", "worker_busy")
    assert mask.mask_event(taken) == events.FallbackTaken(hidden, "upstream", "worker_busy")
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
    opened = logs.opened(stop=("END", "\n\n"), hash_key="00" * 16)
    masked = mask.mask_event(opened)
    assert isinstance(masked, events.Opened)
    assert (masked.content, masked.stop, masked.hash_key) == ("masked", ("***", "\n\n"), None)


def test_a_full_opening_keeps_everything() -> None:
    opened = logs.opened(stop=("END",), hash_key="00" * 16, content="masked")
    kept = msgspec.structs.replace(opened, content="full", schema=events.SCHEMA_VERSION)
    assert mask.keep_event(opened) == kept
    delta = events.TextDelta("Jane")
    assert mask.keep_event(delta) is delta


SECRET = "sk-proj-0123456789abcdef"


@pytest.mark.parametrize(
    "shape",
    [tooloptions.ToolShape(SECRET, "n"), tooloptions.ToolShape("f", SECRET)],
    ids=["name", "namespace"],
)
def test_a_secret_in_the_shape_of_a_tool_is_kept_in_no_log(shape: tooloptions.ToolShape) -> None:
    known = redaction.Redaction((SECRET,))
    tools = tooloptions.ToolOptions(names=("f",), shapes={"f": shape})
    opened = logs.opened(hash_key="00" * 16, tools=tools)
    for keep in (mask.keeper(known), mask.masker(known)):
        kept = keep(opened)
        assert SECRET.encode() not in msgspec.json.encode(kept)
        assert isinstance(kept, events.Opened)
        assert (kept.tools.names, kept.hash_key) == (("f",), None)
    assert SECRET.encode() in msgspec.json.encode(mask.keep_event(opened))
