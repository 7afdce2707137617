"""A worker's whole calls wait until their step is whole, or are dropped with it."""

import pytest

from machines import events
from machines.events import (
    ClientGone,
    ReasoningDelta,
    TextDelta,
    TimerFired,
    ToolCalled,
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
    Reasoning,
    Role,
    ToolBlock,
    ToolCall,
    ToolCounts,
)
from machines.stream import choices
from machines.tooloptions import ToolOptions
from tests.support.machines.playbook import Playbook, opened

LOST = TurnFailed("worker_lost", "worker_exited", "Gone.")


def test_whole_calls_wait_for_their_step_and_go_out_in_order() -> None:
    book = (
        Playbook(opened())
        >> ToolCalled("c1", "a", '{"x":1}')
        << Head()
        << Role()
        >> ReasoningDelta("Hm")
        << Reasoning("Hm")
        >> ToolCalled("c2", "b", "")
    )
    assert book
    assert book.stream.position == "tool_buffering"
    assert (
        book
        >> TextDelta("Wait.")
        << Content("Wait.")
        >> TurnFinished("stop")
        << ToolCall(0, "c1", "a", '{"x":1}')
        << ToolCall(1, "c2", "b", "{}")
        << ToolCounts(2, truncated=False)
        << Finish("tool_calls")
        << Done()
    )
    assert book.stream.tool_totals()["tool_calls"] == 2


def test_in_xml_a_whole_call_comes_as_a_block_too_and_its_text_before_it() -> None:
    assert (
        Playbook(opened(tools=ToolOptions(output_mode="obsidian-xml")))
        >> ToolCalled("c1", "readNote", '{"notePath":"a.md"}')
        << Head()
        << Role()
        >> TextDelta("a <")
        << Content("a ")
        >> TurnFinished("tool_calls")
        << Content("<")
        << ToolCall(0, "c1", "readNote", '{"notePath":"a.md"}')
        << ToolBlock("readNote", '{"notePath":"a.md"}')
        << ToolCounts(1, truncated=False)
        << Finish("tool_calls")
        << Done()
    )


def waiting(**options: object) -> Playbook:
    """A stream in which two calls wait."""
    return (
        Playbook(opened(**options))
        >> ToolCalled("c1", "a", "{}")
        << Head()
        << Role()
        >> ToolCalled("c2", "a", "{}")
    )


@pytest.mark.parametrize("reason", ["length", "content_filter", "max_output_tokens"])
def test_calls_of_a_step_that_was_cut_short_are_dropped(reason: str) -> None:
    book = waiting() >> TurnFinished(reason)
    finished = Finish("length" if reason == "max_output_tokens" else reason)
    assert book << finished << Done()
    assert book.stream.tool_totals()["tool_calls_dropped"] == 2
    assert choices.are_withheld(book.stream.choices)


@pytest.mark.parametrize(
    ("event", "failure"),
    [
        (LOST, Failure("worker_exited", "Gone.")),
        (
            TimerFired("idle"),
            Failure(
                "idle_timeout",
                "The model stopped sending output before its answer was complete.",
            ),
        ),
        (events.ServerStopping(), Failure("server_shutdown", "The server is stopping.")),
    ],
)
@pytest.mark.parametrize("length_on_worker_exit", [True, False])
def test_calls_of_a_step_that_failed_are_dropped(
    event: events.StreamInput, failure: Failure, length_on_worker_exit: bool
) -> None:
    book = waiting(length_on_worker_exit=length_on_worker_exit) >> event << failure
    assert book
    assert book.stream.tool_totals()["tool_calls_dropped"] == 2
    assert book.stream.tool_totals()["tool_calls"] == 0


def test_calls_are_dropped_when_the_client_leaves() -> None:
    book = waiting() >> ClientGone("left")
    assert book
    assert book.stream.tool_totals()["tool_calls_dropped"] == 2


def test_calls_are_dropped_when_the_text_is_cut() -> None:
    book = (
        waiting(stop=("##",))
        >> TextDelta("a##")
        << Content("a")
        << CancelTurn()
        << Finish("stop")
        << Done()
    )
    assert book
    assert book.stream.tool_totals()["tool_calls_dropped"] == 2


def test_a_call_after_the_end_is_ignored() -> None:
    book = (
        Playbook(opened(include_usage=True))
        >> TurnFinished("stop")
        << Head()
        << Role()
        << Finish("stop")
        >> ToolCalled("c1", "a", "{}")
        >> events.ToolCallDelta(0, "c1", "a", "{}")
    )
    assert book
    assert book.stream.tool_totals()["tool_calls_dropped"] == 0


def test_a_lost_worker_fails_every_choice_where_calls_of_one_wait() -> None:
    assert (
        Playbook(opened(n=2, length_on_worker_exit=True))
        >> ToolCalled("c1", "a", "{}", 1)
        << Head()
        << Role(0)
        << Role(1)
        >> TextDelta("x", 0)
        << Content("x", 0)
        >> TurnFailed("worker_lost", "worker_exited", "Gone.", 0)
        << Failure("worker_exited", "Gone.")
    )
