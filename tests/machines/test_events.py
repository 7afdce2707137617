"""The vocabulary of the log: every event has one name, and survives being written and read."""

import typing

import msgspec
import pytest

from machines import events, tooloptions

COUNTS = events.Usage(10, 5, cached_tokens=3, reasoning_tokens=1)

OPENED = events.Opened(
    request_id="req_1",
    completion_id="chatcmpl-1",
    created=1_795_293_345,
    model="codex-5-high",
    target="gpt-5.5",
    worker="codex",
    endpoint="responses",
    effort="high",
    n=2,
    streaming=False,
    include_usage=True,
    stop=("\n\n", "漢"),
    max_bytes=64,
    length_on_worker_exit=True,
    empty_is_failure=True,
    tools=tooloptions.ToolOptions(
        names=("readNote",),
        output_mode="obsidian-xml",
        legacy=True,
        max_calls=2,
        dedup=True,
        delimiter="\n",
        stop_after="burst",
        suppress_tail=True,
        sse_comments=False,
    ),
    stored=True,
    empty_message="never",
    content="masked",
    request=msgspec.Raw(b'{"messages":[]}'),
    versions={"turntape": "0.1.0"},
    hash_key="00ff",
    prompt_bytes=21,
    prompt_sizes=(14, 7),
    metrics_since=1_700_000_000_000_000,
    key="k",
)

TERMINAL = events.Terminal(
    kind="client_gone",
    emission_trigger="client_gone",
    status=200,
    finish_reasons=("stop", None),
    finish_words=("end_turn", None),
    code="upstream_error",
    cause="write_stall",
    usage=COUNTS,
    usage_source="estimated",
    frames=7,
    body_bytes=1234,
    body_hash="ab" * 16,
    ttft_us=1500,
    duration_us=9000,
    first_content_us=1700,
    longest_gap_us=4000,
    longest_gap_owner="queued",
    parked_us=30,
    heartbeats=6,
    tool_calls=5,
    tool_calls_withheld=1,
    tool_calls_dropped=2,
    tool_buffers_started=4,
    tool_buffers_flushed=2,
    tool_buffers_aborted={"nested": 1, "unclosed": 1},
    own_us=700,
    process="wk_1",
)

Written = events.StreamInput | events.WorkerChanged | events.RequestRejected
WRITTEN: dict[str, Written] = {
    '{"event":"turn_changed","trigger":"spoke","before":"silent","after":"speaking","choice":1}': (
        events.TurnChanged("spoke", "silent", "speaking", 1)
    ),
    '{"event":"thread_changed","trigger":"expired","before":"waiting","after":"interrupting",'
    '"late_of":"st_1","thread_id":"t"}': events.ThreadChanged(
        "expired", "waiting", "interrupting", late_of="st_1", thread_id="t"
    ),
    '{"event":"text_delta","text":"漢"}': events.TextDelta("漢"),
    '{"event":"reasoning_delta","text":"hm","choice":1}': events.ReasoningDelta("hm", 1),
    '{"event":"reasoning_delta","text":"hm","kind":"text"}': events.ReasoningDelta(
        "hm", kind="text"
    ),
    '{"event":"reasoning_delta","text":"hm","kind":"text","member":"reasoning"}': (
        events.ReasoningDelta("hm", kind="text", member="reasoning")
    ),
    '{"event":"reasoning_completed","encrypted_content":"gAAA"}': events.ReasoningCompleted(
        "gAAA"
    ),
    '{"event":"reasoning_part_started","choice":1}': events.ReasoningPartStarted(1),
    '{"event":"message_started","phase":"commentary"}': events.MessageStarted("commentary"),
    '{"event":"message_completed","choice":1}': events.MessageCompleted(choice=1),
    '{"event":"refusal_delta","text":"No.","choice":1}': events.RefusalDelta("No.", 1),
    (
        '{"event":"extra_members","place":"delta","members":{"a":[1,"x"]},"choice":1,'
        '"followed":true}'
    ): events.ExtraMembers("delta", msgspec.Raw(b'{"a":[1,"x"]}'), 1, followed=True),
    (
        '{"event":"tool_called","call_id":"c1","name":"readNote","arguments":"{\\"n\\":1}"}'
    ): events.ToolCalled("c1", "readNote", '{"n":1}'),
    (
        '{"event":"tool_call_delta","index":0,"call_id":"c1","name":"readNote",'
        '"arguments":"{","choice":1}'
    ): events.ToolCallDelta(0, "c1", "readNote", "{", 1),
    (
        '{"event":"tool_call_delta","index":0,"call_id":"c1","name":"run","arguments":"ls",'
        '"kind":"custom","members":{"a":1}}'
    ): events.ToolCallDelta(0, "c1", "run", "ls", kind="custom", members=msgspec.Raw(b'{"a":1}')),
    '{"event":"turn_finished","reason":"stop"}': events.TurnFinished("stop"),
    '{"event":"turn_finished","reason":"stop","no_text":"null"}': events.TurnFinished(
        "stop", no_text="null"
    ),
    '{"event":"choice_missing","choice":1}': events.ChoiceMissing(1),
    '{"event":"turn_finished","reason":"stop","followed":true}': events.TurnFinished(
        "stop", followed=True
    ),
    '{"event":"turn_finished","reason":"length","cut_short":true}': events.TurnFinished(
        "length", cut_short=True
    ),
    (
        '{"event":"tokens_counted","usage":{"prompt_tokens":10,"completion_tokens":5,'
        '"cached_tokens":3,"reasoning_tokens":1}}'
    ): events.TokensCounted(COUNTS),
    '{"event":"tokens_counted","usage":null,"choice":1}': events.TokensCounted(None, 1),
    (
        '{"event":"tokens_estimated","usage":{"prompt_tokens":10,"completion_tokens":5},"choice":1}'
    ): events.TokensEstimated(events.Usage(10, 5), 1),
    (
        '{"event":"turn_failed","kind":"upstream_error","code":"upstream_error","message":"no",'
        '"status":502,"retry_after":1.5}'
    ): events.TurnFailed("upstream_error", "upstream_error", "no", status=502, retry_after=1.5),
    '{"event":"timer_fired","timer":"idle"}': events.TimerFired("idle"),
    '{"event":"client_gone","cause":"left"}': events.ClientGone("left"),
    '{"event":"server_stopping"}': events.ServerStopping(),
    '{"event":"turn_started","thread_id":"th","turn_id":"tu"}': events.TurnStarted("th", "tu"),
    '{"event":"tool_call_dropped","call_id":"c1","name":"readNote"}': events.ToolCallDropped(
        "c1", "readNote"
    ),
    '{"event":"turn_resumed","thread_id":"th"}': events.TurnResumed("th"),
    '{"event":"park_missed","reason":"expired"}': events.ParkMissed("expired"),
    '{"event":"thread_reused","thread_id":"th","idle_us":7}': events.ThreadReused("th", 0, 7),
    '{"event":"reuse_missed","reason":"history_edited"}': events.ReuseMissed("history_edited"),
    '{"event":"thread_forked","thread_id":"th","choice":1}': events.ThreadForked("th", 1),
    '{"event":"call_demanded","attempt":1,"choice":1}': events.CallDemanded(1, 1),
    '{"event":"item_started","item":"reasoning"}': events.ItemStarted("reasoning"),
    '{"event":"model_rerouted","model":"m","reason":"r"}': events.ModelRerouted("m", "r"),
    '{"event":"upstream_garbled","data":"{no","choice":1}': events.UpstreamGarbled("{no", 1),
    '{"event":"members_dropped","names":["choice.logprobs"],"choice":1}': (
        events.MembersDropped(("choice.logprobs",), 1)
    ),
    '{"event":"rpc_sent","method":"turn/start","rpc_id":3}': events.RpcSent("turn/start", 3),
    '{"event":"rpc_replied","rpc_id":3,"error":"no"}': events.RpcReplied(3, "no"),
    (
        '{"event":"retry_scheduled","attempt":1,"delay_ms":500,"code":"upstream_error"}'
    ): events.RetryScheduled(1, 500, "upstream_error"),
    (
        '{"event":"fallback_taken","model":"gpt-5.5","worker":"codex","code":"upstream_error"}'
    ): events.FallbackTaken("gpt-5.5", "codex", "upstream_error"),
    (
        '{"event":"fallback_skipped","model":"m","worker":"codex","code":"unsupported_content"}'
    ): events.FallbackSkipped("m", "codex", "unsupported_content"),
    '{"event":"buffer_pressure","buffered":300000}': events.BufferPressure(300_000),
    (
        '{"event":"worker_changed","worker":"codex-0","trigger":"exited","detail":{"code":-9}}'
    ): events.WorkerChanged("codex-0", "exited", {"code": -9}),
    (
        '{"event":"request_rejected","request_id":"r","code":"not_found","status":404,'
        '"method":"GET","path":"/x","client":"::1"}'
    ): events.RequestRejected(
        request_id="r", code="not_found", status=404, method="GET", path="/x", client="::1"
    ),
}
"""Events as a log of this schema version holds them."""

VOCABULARY = {
    "opened": "request_id completion_id created model target worker endpoint effort n streaming"
    " include_usage stop max_bytes length_on_worker_exit empty_is_failure tools stored"
    " empty_message schema content request versions hash_key prompt_bytes"
    " prompt_sizes metrics_since key",
    "text_delta": "text choice",
    "reasoning_delta": "text choice kind member",
    "reasoning_part_started": "choice",
    "reasoning_completed": "encrypted_content choice",
    "message_started": "phase choice",
    "message_completed": "phase choice",
    "refusal_delta": "text choice",
    "extra_members": "place members choice followed",
    "tool_called": "call_id name arguments choice",
    "tool_call_dropped": "call_id name choice",
    "tool_call_delta": "index call_id name arguments choice extent kind members",
    "turn_finished": "reason choice followed cut_short no_text",
    "choice_missing": "choice",
    "tokens_counted": "usage choice",
    "tokens_estimated": "usage choice",
    "turn_failed": "kind code message choice status param retry_after word detail should_retry"
    " members",
    "timer_fired": "timer",
    "client_gone": "cause",
    "server_stopping": "",
    "turn_started": "thread_id turn_id choice process",
    "turn_resumed": "thread_id choice parked_us process",
    "park_missed": "reason choice",
    "thread_reused": "thread_id choice idle_us",
    "reuse_missed": "reason choice",
    "thread_forked": "thread_id choice",
    "call_demanded": "attempt choice",
    "turn_changed": "trigger before after choice late_of",
    "thread_changed": "trigger before after choice late_of thread_id",
    "item_started": "item choice",
    "model_rerouted": "model reason choice",
    "upstream_garbled": "data choice",
    "members_dropped": "names choice",
    "rpc_sent": "method rpc_id choice",
    "rpc_replied": "rpc_id error choice",
    "retry_scheduled": "attempt delay_ms code choice detail",
    "fallback_taken": "model worker code",
    "fallback_skipped": "model worker code",
    "worker_changed": "worker trigger detail",
    "request_rejected": "request_id code status message param method route path client count key"
    " model",
    "buffer_pressure": "buffered",
    "terminal": "kind emission_trigger status finish_reasons finish_words code cause usage"
    " usage_source frames body_bytes body_hash ttft_us duration_us longest_gap_us tool_calls"
    " tool_calls_withheld tool_calls_dropped tool_buffers_started"
    " tool_buffers_flushed tool_buffers_aborted first_content_us longest_gap_owner parked_us"
    " heartbeats own_us process",
}
"""Fields of each event in schema version 2. What an older reader would misread needs another
version; what it may skip, as an event that is new, does not."""


def fields(found: type[msgspec.Struct]) -> str:
    return " ".join(found.__struct_encode_fields__)


def test_the_vocabulary_changes_only_with_the_schema_version() -> None:
    shapes = {
        str(found.__struct_config__.tag): fields(found)
        for found in events.StreamEvent.__subclasses__()
    }
    assert (events.SCHEMA_VERSION, shapes) == (2, VOCABULARY)
    assert fields(events.Usage) == (
        "prompt_tokens completion_tokens cached_tokens reasoning_tokens other_tokens"
    )
    assert fields(tooloptions.ToolOptions) == (
        "names output_mode legacy most dedup delimiter stop_after suppress_tail comments "
        "call_limit shapes"
    )
    assert fields(tooloptions.ToolShape) == "name namespace kind"


@pytest.mark.parametrize("written", WRITTEN)
def test_an_event_is_written_and_read_as_it_always_was(written: str) -> None:
    assert msgspec.json.encode(WRITTEN[written]).decode() == written
    read = msgspec.json.decode(written, type=Written)
    assert read == WRITTEN[written]


@pytest.mark.parametrize("event", [OPENED, TERMINAL])
def test_the_first_and_the_last_record_lose_nothing(
    event: events.Opened | events.Terminal,
) -> None:
    untouched = [name for name, value in defaults(event).items() if getattr(event, name) == value]
    assert untouched in ([], ["schema"]), "an example with defaults would show nothing"
    written = msgspec.json.encode(event)
    read = msgspec.json.decode(written, type=events.Opened | events.Terminal)
    assert msgspec.json.encode(read) == written
    assert type(read) is type(event)
    if isinstance(read, events.Terminal):
        assert read == event
    else:
        assert bytes(read.request) == b'{"messages":[]}'


def defaults(event: msgspec.Struct) -> dict[str, object]:
    """Fields of an event that may be left out, and what they are then."""
    found = msgspec.structs.fields(event)
    return {field.name: field.default for field in found if not field.required}


def test_an_opened_record_needs_only_what_has_no_default() -> None:
    written = (
        b'{"event":"opened","request_id":"r","completion_id":"c","created":1,"model":"m",'
        b'"target":"t","worker":"w"}'
    )
    read = msgspec.json.decode(written, type=events.Opened)
    assert (read.n, read.streaming, read.include_usage, read.stop) == (1, True, False, ())
    assert (read.max_bytes, read.content, bytes(read.request)) == (None, "full", b"null")
    assert read.tools == tooloptions.ToolOptions()
    assert (read.schema, read.versions, read.hash_key) == (1, {}, None)


def test_every_event_is_tried_and_in_its_union() -> None:
    inputs = set(typing.get_args(events.StreamInput))
    others = {
        events.Opened,
        events.Terminal,
        events.WorkerChanged,
        events.RequestRejected,
    }
    assert inputs | others == set(events.StreamEvent.__subclasses__())
    assert {type(event) for event in (*WRITTEN.values(), OPENED, TERMINAL)} == inputs | others


def test_every_name_belongs_to_one_event() -> None:
    tags = [found.__struct_config__.tag for found in events.StreamEvent.__subclasses__()]
    assert len(tags) == len(set(tags))


def test_what_happened_cannot_be_changed() -> None:
    for found in events.StreamEvent.__subclasses__():
        assert found.__struct_config__.frozen
