"""What the choices of a stream do together: they begin at once, and add up."""

import pytest

from machines import events, outputs
from machines.stream import choice, choices
from tests.support.machines.playbook import opened

HELD = "held"
CALL = outputs.ToolCall(0, "c1", "a", "{}")


def group(*states: str) -> tuple[choice.Choice, ...]:
    """The choices of a stream, in these states."""
    return tuple(
        choice.Choice(index, opened(n=len(states)), state) for index, state in enumerate(states)
    )


def test_all_choices_begin_with_the_first_that_has_something() -> None:
    among = group(HELD, HELD)
    content: list[outputs.AnyOutput] = [outputs.Content("x", 1)]
    assert choices.emit(among, among[1], []) == []
    assert [each.state for each in among] == [HELD, HELD]
    assert choices.emit(among, among[1], content) == [
        outputs.Head(),
        outputs.Role(0),
        outputs.Role(1),
        *content,
    ]
    assert [each.state for each in among] == ["content", "content"]
    assert choices.begin(among) == []


def test_roles_follow_a_head_that_went_alone() -> None:
    among = group("role", "role")
    assert choices.begin(among) == [outputs.Role(0), outputs.Role(1)]


def test_a_choice_takes_the_state_of_the_last_output_that_has_one() -> None:
    (one,) = among = group(HELD)
    choices.emit(among, one, [outputs.Content("x"), CALL, outputs.ToolBufferFlushed()])
    assert one.state == "tool_buffering"


def test_a_step_has_the_states_that_were_passed_once() -> None:
    among = group(HELD, HELD)
    emitted = choices.emit(among, among[0], [CALL])
    step = choices.step(among, among[0], emitted)
    passed = ("content", "tool_buffering")
    assert step == outputs.Step("tool_buffering", tuple(emitted), None, passed)
    assert [choices.step(among, each, ()) for each in among] == [
        outputs.Step("tool_buffering", ()),
        outputs.Step("content", ()),
    ]


@pytest.mark.parametrize(
    ("states", "index"),
    [
        (("content", HELD, "done"), 1),
        (("finish", "finish"), 0),
        (("finish", "tool_buffering"), 1),
    ],
)
def test_the_slowest_is_furthest_from_its_end(states: tuple[str, ...], index: int) -> None:
    assert choices.slowest(group(*states)).index == index


@pytest.mark.parametrize(
    ("usages", "expected"),
    [
        ([events.Usage(10, 5, 3, 1)], events.Usage(10, 5, 3, 1)),
        (
            [events.Usage(10, 5, 3, 1), events.Usage(11, 7, 2, 4)],
            events.Usage(11, 12, 3, 5),
        ),
        ([events.Usage(10, 5), None], None),
        ([None, None], None),
    ],
)
def test_a_total_counts_the_prompt_once_and_needs_every_choice(
    usages: list[events.Usage | None], expected: events.Usage | None
) -> None:
    all_of_them = tuple(choice.Choice(index, opened(), HELD) for index in range(len(usages)))
    for each, usage in zip(all_of_them, usages, strict=True):
        each.count(usage)
    assert choices.total(all_of_them) == outputs.UsageTotals(expected)


def test_a_choice_that_was_not_counted_yet_leaves_no_total() -> None:
    assert choices.total((choice.Choice(0, opened(), HELD),)).usage is None


def test_a_total_counts_each_of_several_prompts_once() -> None:
    among = tuple(choice.Choice(index, opened(), HELD) for index in range(4))
    for each, prompt_tokens in zip(among, (10, 10, 3, 3), strict=True):
        each.count(events.Usage(prompt_tokens, 5, 2, 1))
    assert choices.total(among, 2).usage == events.Usage(13, 20, 4, 4)
    assert choices.total(among[:3], 3).usage == events.Usage(23, 15, 6, 3)


def test_a_total_of_several_prompts_is_an_estimate_where_one_of_them_is() -> None:
    among = tuple(choice.Choice(index, opened(prompt_bytes=1), HELD) for index in range(2))
    among[0].count(events.Usage(10, 5))
    assert choices.total(among, 2).usage is None
    among[1].miss_counts(opened(prompt_bytes=1))
    among[1].estimate(events.Usage(3, 4))
    found = choices.total(among, 2)
    assert (found.usage, found.source) == (events.Usage(13, 9), "estimated")
