"""Whatever happens to a stream, in whatever order, the rules of the wire hold."""

import itertools

from hypothesis import given, strategies as st

from engine.log.content import mask
from machines import events, outputs
from machines.outputs import (
    Content,
    Done,
    Failure,
    Finish,
    Head,
    Keepalive,
    Reasoning,
    Rejected,
    Role,
    ToolCounts,
    UsageTotals,
)
from machines.stream import finish, machine as stream, states
from tests.support.machines import stories


def said(story: stories.Story) -> list[outputs.AnyOutput]:
    """Everything a stream has for its client."""
    taken = stories.steps(stream.Stream(story.opened), story.events)
    heard = [output for _, step in taken for output in step.outputs]
    return [output for output in heard if not isinstance(output, outputs.CancelTurn)]


@given(stories.stories())
def test_each_part_of_an_answer_comes_once_and_in_order(story: stories.Story) -> None:
    """Invariant: head, roles, text and calls, finishes, usage, sentinel; the others once."""
    phases: dict[type, int] = {Head: 0, Role: 1, UsageTotals: 3, Done: 4}
    heard = [
        output for output in said(story) if not isinstance(output, Failure | Rejected | Keepalive)
    ]
    order = [phases.get(type(output), 2) for output in heard]
    assert order == sorted(order)
    for kind in (Head, UsageTotals, Done):
        assert sum(isinstance(output, kind) for output in heard) <= 1
    roles = [output.choice for output in heard if isinstance(output, Role)]
    assert roles in ([], list(range(story.opened.n)))
    for choice in range(story.opened.n):
        own = [
            type(o)
            for o in heard
            if not isinstance(o, Head | UsageTotals | Done) and o.choice == choice
        ]
        assert own.count(Finish) <= 1
        assert Finish not in own[:-1], "said something after its finish"
        assert ToolCounts not in own[:-2], "counted its calls before the last"


@given(stories.stories())
def test_nothing_comes_after_a_failure_or_the_sentinel(story: stories.Story) -> None:
    heard = said(story)
    last = [index for index, out in enumerate(heard) if isinstance(out, Failure | Rejected | Done)]
    assert last in ([], [len(heard) - 1])


@given(stories.stories())
def test_a_failure_leaves_no_usage_and_before_the_head_it_stands_alone(
    story: stories.Story,
) -> None:
    heard = said(story)
    if heard and isinstance(heard[-1], Failure | Rejected):
        assert not any(isinstance(output, UsageTotals) for output in heard)
    if heard and isinstance(heard[-1], Rejected):
        assert len(heard) == 1 or not story.opened.streaming
    elif heard:
        assert heard[0] == Head()
        assert story.opened.streaming or not isinstance(heard[-1], Failure)


@given(stories.stories())
def test_usage_is_there_exactly_if_it_is_wanted(story: stories.Story) -> None:
    heard = said(story)
    if Done() in heard:
        wanted = story.opened.include_usage or not story.opened.streaming
        assert any(isinstance(output, UsageTotals) for output in heard) == wanted
        reasons = [output.reason for output in heard if isinstance(output, Finish)]
        assert len(reasons) == story.opened.n
        assert set(reasons) <= set(finish.CANONICAL)


@given(stories.stories())
def test_a_stream_has_one_kind_of_end_and_has_it_exactly_when_it_ended(
    story: stories.Story,
) -> None:
    machine = stream.Stream(story.opened)
    ends = set()
    for _, step in stories.steps(machine, story.events):
        assert (machine.kind is not None) == machine.ended
        assert bool(machine.emission_trigger) == machine.ended
        assert (step.state in states.TABLE.final) == machine.ended
        assert {choice.state in states.TABLE.final for choice in machine.choices} == {
            machine.ended
        }
        if machine.ended:
            code = machine.failure.code if machine.failure is not None else None
            ends.add((machine.kind, machine.emission_trigger, machine.cause, code))
    assert len(ends) <= 1


@given(stories.stories(until_ended=True))
def test_every_stream_comes_to_an_end(story: stories.Story) -> None:
    machine = stream.Stream(story.opened)
    heard = [out for _, step in stories.steps(machine, story.events) for out in step.outputs]
    assert machine.ended
    if machine.kind in ("completed", "truncated"):
        assert heard[-1] == Done()
    elif machine.kind == "client_gone":
        assert not any(isinstance(output, Done | Failure | Rejected) for output in heard)
    else:
        assert isinstance(heard[-1], Failure | Rejected)


@given(stories.stories(stop=(), max_bytes=None, tools=stories.NO_TOOLS))
def test_text_that_nothing_cuts_is_said_at_once_and_as_it_came(story: stories.Story) -> None:
    for event, step in stories.steps(stream.Stream(story.opened), story.events):
        texts = [out for out in step.outputs if isinstance(out, Content | Reasoning)]
        match event:
            case events.TextDelta(text, choice) if texts:
                assert texts == [Content(text, choice)]
            case events.ReasoningDelta(text, choice, kind) if texts:
                assert texts == [Reasoning(text, choice, kind)]
            case _:
                assert texts == []


@given(stories.stories(tools=stories.NO_TOOLS))
def test_text_is_never_made_up_reordered_or_over_its_budget(story: stories.Story) -> None:
    taken = list(stories.steps(stream.Stream(story.opened), story.events))
    for choice in range(story.opened.n):
        heard = "".join(
            event.text
            for event, _ in taken
            if isinstance(event, events.TextDelta) and event.choice == choice
        )
        told = "".join(
            out.text
            for _, step in taken
            for out in step.outputs
            if isinstance(out, Content) and out.choice == choice
        )
        assert heard.startswith(told)


@given(stories.stories(), st.data())
def test_how_a_text_was_split_does_not_show(story: stories.Story, data: st.DataObject) -> None:
    """Invariant: the same text in other pieces gives the same answer and the same end."""
    pieces: list[events.StreamInput] = []
    for event in story.events:
        if isinstance(event, events.TextDelta) and len(event.text) > 1:
            cut = data.draw(st.integers(1, len(event.text) - 1))
            pieces.append(events.TextDelta(event.text[:cut], event.choice))
            pieces.append(events.TextDelta(event.text[cut:], event.choice))
        else:
            pieces.append(event)
    whole, split = stream.Stream(story.opened), stream.Stream(story.opened)
    assert joined(whole, story.events) == joined(split, tuple(pieces))
    assert (whole.kind, whole.failure, whole.totals) == (split.kind, split.failure, split.totals)


def joined(
    machine: stream.Stream, happened: tuple[events.StreamInput, ...]
) -> list[outputs.AnyOutput]:
    """Outputs with neighbouring texts of a choice joined."""
    heard = [out for _, step in stories.steps(machine, happened) for out in step.outputs]
    found: list[outputs.AnyOutput] = []
    for key, group in itertools.groupby(
        heard, lambda o: o.choice if isinstance(o, Content) else o
    ):
        parts = list(group)
        text = "".join(part.text for part in parts if isinstance(part, Content))
        found += [Content(text, key)] if isinstance(key, int) else parts
    return found


@given(stories.stories())
def test_a_masked_stream_takes_the_same_steps(story: stories.Story) -> None:
    """Invariant: with the decisions given, masked text leads through the same states and tags."""
    taken = stories.steps(stream.Stream(story.opened), story.events)
    masked_opened = mask.mask_event(story.opened)
    assert isinstance(masked_opened, events.Opened)
    again = stream.Stream(masked_opened)
    for event, step in taken:
        replayed = again.step(stories.masked(event), step.decision)
        assert replayed.state == step.state
        assert replayed.decision == step.decision
        assert [type(out) for out in replayed.outputs] == [type(out) for out in step.outputs]
        for before, after in zip(step.outputs, replayed.outputs, strict=True):
            if isinstance(before, Content) and isinstance(after, Content):
                assert after == Content(mask.mask_text(before.text), before.choice)
            if isinstance(before, Finish | ToolCounts):
                assert after == before


@given(stories.stories())
def test_a_text_passes_exactly_if_its_step_is_that_text_and_changes_nothing(
    story: stories.Story,
) -> None:
    machine = stream.Stream(story.opened)
    for event in story.events:
        before = held(machine)
        passes = isinstance(event, events.TextDelta) and machine.passes(event.choice, event.text)
        for taken, step in stories.steps(machine, (event,)):
            if passes and isinstance(taken, events.TextDelta):
                content = Content(taken.text, taken.choice)
                assert step == outputs.Step("content", (content,))
                assert held(machine) == before
            elif isinstance(taken, events.TextDelta) and step == outputs.Step(
                "content", (Content(taken.text, taken.choice),)
            ):
                assert before[taken.choice][0] != "content", "it would have passed"


def held(machine: stream.Stream) -> list[tuple[str, str]]:
    """The state of each choice and the text that it holds for a stop sequence."""
    return [(choice.state, choice.held) for choice in machine.choices]
