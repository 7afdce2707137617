"""Calls of one answer, told as playbooks: blocks in its text, and a worker's whole calls."""

from machines import events
from machines.events import (
    ClientGone,
    TextDelta,
    TurnFailed,
    TurnFinished,
)
from machines.outputs import (
    CancelTurn,
    Content,
    Done,
    Failure,
    Finish,
    Head,
    Rejected,
    Role,
    ToolBlock,
    ToolBufferAborted,
    ToolBufferFlushed,
    ToolBufferStarted,
    ToolCall,
    ToolCounts,
)
from machines.tooloptions import ToolOptions
from tests.support.machines.playbook import Playbook, opened

READ = '<use_tool name="readNote"><notePath>a.md</notePath></use_tool>'
READ_ARGUMENTS = '{"notePath":"a.md"}'

TREE = '<use_tool name="getFileTree"/>'

LOST = TurnFailed("worker_lost", "worker_exited", "Gone.")


def declared(**options: object) -> events.Opened:
    """A stream whose client declared one of the two tools."""
    return opened(tools=ToolOptions(names=("readNote",)), **options)


def xml(**options: object) -> events.Opened:
    """A stream to Obsidian Copilot."""
    return opened(tools=ToolOptions(output_mode="obsidian-xml"), **options)


def test_a_block_of_a_declared_tool_is_a_call_between_the_texts_around_it() -> None:
    book = (
        Playbook(declared())
        >> TextDelta(f"I read. {READ} Done.")
        << Head()
        << Role()
        << Content("I read. ")
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "readNote", READ_ARGUMENTS)
        << Content(" Done.")
        >> TurnFinished("stop")
        << ToolCounts(1, truncated=False)
        << Finish("tool_calls")
        << Done()
    )
    assert book
    assert book.stream.choices[0].word == "stop"


def test_a_block_is_held_from_what_may_begin_it_and_gone_as_soon_as_it_is_closed() -> None:
    book = (
        Playbook(declared())
        >> TextDelta("I read. <use")
        << Head()
        << Role()
        << Content("I read. ")
        >> TextDelta(READ[4:40])
        << ToolBufferStarted()
        >> TextDelta(READ[40:-1])
        >> TextDelta(">")
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "readNote", READ_ARGUMENTS)
    )
    assert book
    assert book.stream.position == "tool_buffering"


def test_a_block_of_an_undeclared_tool_is_text_as_it_was_written() -> None:
    assert (
        Playbook(declared())
        >> TextDelta(TREE)
        << Head()
        << Role()
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << Content(TREE)
        >> TurnFinished("stop")
        << Finish("stop")
        << Done()
    )


def test_without_declared_tools_a_block_is_text_that_passes() -> None:
    book = Playbook(opened()) >> TextDelta("x") << Head() << Role() << Content("x")
    assert book
    assert book.stream.passes(0, READ)


def test_in_xml_every_block_is_a_call_and_comes_again_in_canonical_form() -> None:
    assert (
        Playbook(xml())
        >> TextDelta(READ + TREE)
        << Head()
        << Role()
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "readNote", READ_ARGUMENTS)
        << ToolBlock("readNote", READ_ARGUMENTS)
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(1, "call_1_0_1", "getFileTree", "{}")
        << ToolBlock("getFileTree", "{}")
        >> TurnFinished("stop")
        << ToolCounts(2, truncated=False)
        << Finish("tool_calls")
        << Done()
    )


def test_what_is_no_block_after_all_is_text_and_the_reason_is_said() -> None:
    nested = f"<use_tool>{TREE}"
    malformed = "<use_tool></use_tool>"
    book = (
        Playbook(xml())
        >> TextDelta(nested + malformed)
        << Head()
        << Role()
        << ToolBufferStarted()
        << ToolBufferAborted("nested")
        << Content("<use_tool>")
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "getFileTree", "{}")
        << ToolBlock("getFileTree", "{}")
        << ToolBufferStarted()
        << ToolBufferAborted("malformed")
        << Content(malformed)
    )
    assert book
    assert book.stream.tool_totals() == {
        "tool_calls": 1,
        "tool_calls_withheld": 0,
        "tool_calls_dropped": 0,
        "tool_buffers_started": 3,
        "tool_buffers_flushed": 1,
        "tool_buffers_aborted": {"nested": 1, "malformed": 1},
    }


def holding(first: events.Opened) -> Playbook:
    """A stream in which a block has begun."""
    return (
        Playbook(first)
        >> TextDelta("a<use_tool>b")
        << Head()
        << Role()
        << Content("a")
        << ToolBufferStarted()
    )


def test_a_finish_says_what_was_held_as_text() -> None:
    assert (
        holding(declared())
        >> TurnFinished("stop")
        << ToolBufferAborted("unclosed")
        << Content("<use_tool>b")
        << Finish("stop")
        << Done()
    )


def test_a_failure_says_what_was_held_as_text() -> None:
    assert (
        holding(declared())
        >> LOST
        << ToolBufferAborted("unclosed")
        << Content("<use_tool>b")
        << Failure("worker_exited", "Gone.")
    )


def test_a_cut_says_what_was_held_as_text_up_to_the_stop_sequence() -> None:
    assert (
        holding(declared(stop=("##",)))
        >> TextDelta("c##d")
        << ToolBufferAborted("unclosed")
        << Content("<use_tool>bc")
        << CancelTurn()
        << Finish("stop")
        << Done()
    )


def test_a_cut_at_the_byte_budget_says_what_was_held_as_text() -> None:
    assert (
        holding(declared(max_bytes=13))
        >> TextDelta("cd")
        << ToolBufferAborted("unclosed")
        << Content("<use_tool>bc")
        << CancelTurn()
        << Finish("length")
        << Done()
    )


def test_a_truncated_answer_says_all_that_was_held_in_its_order() -> None:
    assert (
        holding(declared(stop=("##",), length_on_worker_exit=True))
        >> TextDelta("c#")
        >> LOST
        << ToolBufferAborted("unclosed")
        << Content("<use_tool>bc#")
        << CancelTurn()
        << Finish("length")
        << Done()
    )


def test_a_client_that_left_is_told_nothing_of_what_was_held() -> None:
    book = holding(declared()) >> ClientGone("left")
    assert book
    assert book.stream.tool_totals()["tool_buffers_started"] == 1


def test_a_part_of_a_tag_does_not_turn_an_http_error_into_a_broken_stream() -> None:
    rejected = Rejected(Failure("worker_exited", "Gone."))
    assert Playbook(declared()) >> TextDelta("<use_to") >> LOST << rejected


def test_a_stop_sequence_is_found_in_the_text_before_the_block_is() -> None:
    assert (
        Playbook(declared(stop=("notePath",)))
        >> TextDelta(READ)
        << Head()
        << Role()
        << ToolBufferStarted()
        << ToolBufferAborted("unclosed")
        << Content('<use_tool name="readNote"><')
        << CancelTurn()
        << Finish("stop")
        << Done()
    )


def test_a_block_whose_end_a_stop_sequence_held_back_is_a_call_at_the_finish() -> None:
    assert (
        Playbook(declared(stop=(">\n\n",)))
        >> TextDelta(READ)
        << Head()
        << Role()
        << ToolBufferStarted()
        >> TurnFinished("stop")
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "readNote", READ_ARGUMENTS)
        << ToolCounts(1, truncated=False)
        << Finish("tool_calls")
        << Done()
    )


def test_calls_of_a_client_with_functions_finish_as_a_function_call() -> None:
    book = (
        Playbook(opened(tools=ToolOptions(names=("readNote",), legacy=True)))
        >> TextDelta(READ)
        << Head()
        << Role()
        << ToolBufferStarted()
        << ToolBufferFlushed()
        << ToolCall(0, "call_1_0_0", "readNote", READ_ARGUMENTS)
        >> TurnFinished("function_call")
        << ToolCounts(1, truncated=False)
        << Finish("function_call")
        << Done()
    )
    assert book
    assert book.stream.choices[0].word is None


def test_calls_of_two_choices_have_their_own_numbers_and_ids() -> None:
    assert (
        Playbook(declared(n=2))
        >> TextDelta(READ, 1)
        << Head()
        << Role(0)
        << Role(1)
        << ToolBufferStarted(1)
        << ToolBufferFlushed(1)
        << ToolCall(0, "call_1_1_0", "readNote", READ_ARGUMENTS, 1)
        >> TextDelta(READ, 0)
        << ToolBufferStarted(0)
        << ToolBufferFlushed(0)
        << ToolCall(0, "call_1_0_0", "readNote", READ_ARGUMENTS, 0)
        >> TurnFinished("stop", 1)
        << ToolCounts(1, truncated=False, choice=1)
        << Finish("tool_calls", 1)
        >> TurnFinished("length", 0)
        << ToolCounts(1, truncated=False, choice=0)
        << Finish("length", 0)
        << Done()
    )
