"""What a stream may answer, and what a log keeps of it: every output has one name."""

import typing

import msgspec
import pytest

from machines import events, outputs

OUTPUTS: tuple[outputs.AnyOutput, ...] = (
    outputs.Head(),
    outputs.Role(1),
    outputs.Content("漢\u2028", 1),
    outputs.Reasoning("hm", 1),
    outputs.ReasoningPart(1),
    outputs.ReasoningDone("gAAA", 1),
    outputs.MessageBegun("commentary", 1),
    outputs.MessageDone("final_answer", 1),
    outputs.Refusal("No.", 1),
    outputs.Members("delta", msgspec.Raw(b'{"a":1}'), 1, followed=True),
    outputs.ToolCall(0, "c1", "readNote", '{"n":', 1),
    outputs.CallMembers(0, msgspec.Raw(b'{"a":1}'), 1),
    outputs.ToolArguments(0, "1}", 1),
    outputs.ToolBlock("readNote", '{"n":1}', 1),
    outputs.ToolBufferStarted(1),
    outputs.ToolBufferFlushed(1),
    outputs.ToolBufferAborted("nested", 1),
    outputs.ToolCounts(2, truncated=True, choice=1),
    outputs.Finish("stop", 1),
    outputs.UsageTotals(events.Usage(10, 5)),
    outputs.UsageTotals(None),
    outputs.Done(),
    outputs.Keepalive(),
    outputs.Failure("upstream_error", "no", 502, "messages", 1.5),
    outputs.Rejected(outputs.Failure("upstream_error", "no")),
    outputs.CancelTurn(1),
)

OUTPUT_TAGS = (
    "head role content reasoning reasoning_part reasoning_done message_begun message_done"
    " refusal members tool_call call_members tool_arguments tool_block tool_buffer_started"
    " tool_buffer_flushed tool_buffer_aborted tool_counts finish"
    " usage done keepalive failure cancel_turn"
)
"""What stands in a record's `out` in schema version 2."""


def fields(found: type[msgspec.Struct]) -> str:
    return " ".join(found.__struct_encode_fields__)


def test_the_vocabulary_changes_only_with_the_schema_version() -> None:
    tags = [str(found.__struct_config__.tag) for found in outputs.Output.__subclasses__()]
    assert (events.SCHEMA_VERSION, " ".join(dict.fromkeys(tags))) == (2, OUTPUT_TAGS)
    assert fields(outputs.Decision) == "released cut pieces joined repeats marked"
    assert fields(outputs.Piece) == "kind length word"
    assert fields(outputs.Joined) == "index name"


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: type(output).__name__)
def test_an_output_is_read_as_it_was_written(output: outputs.AnyOutput) -> None:
    written = msgspec.json.encode(output)
    assert msgspec.json.decode(written, type=type(output)) == output


def test_every_output_is_tried_and_in_its_union() -> None:
    named = set(typing.get_args(outputs.AnyOutput))
    assert {type(output) for output in OUTPUTS} == named
    assert named == set(outputs.Output.__subclasses__())


def test_every_name_belongs_to_one_output_but_that_of_a_failure() -> None:
    """Logs were written before a failure and a rejection were told apart."""
    tags = [str(found.__struct_config__.tag) for found in outputs.Output.__subclasses__()]
    tags.remove(str(outputs.Rejected.__struct_config__.tag))
    assert len(tags) == len(set(tags))


def test_a_bug_of_ours_tells_a_client_nothing_of_itself() -> None:
    assert outputs.Failure("internal_error", "The server had an error.") == outputs.DEFECT


def test_what_was_said_cannot_be_changed() -> None:
    kinds: list[type[msgspec.Struct]] = [*outputs.Output.__subclasses__(), outputs.Decision]
    assert all(kind.__struct_config__.frozen for kind in kinds)
