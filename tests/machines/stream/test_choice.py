"""What a stream remembers of one choice: text not yet said, and counts."""

from machines import events, outputs, tooloptions
from machines.stream import choice
from tests.support.machines.playbook import opened

HELD = "held"


def scanned(**options: object) -> choice.Choice:
    """A choice with a stop sequence."""
    return choice.Choice(0, opened(stop=("##",), **options), HELD)


def content(text: str) -> list[outputs.AnyOutput]:
    return [outputs.Content(text)]


def test_without_limits_text_is_passed_on_undecided() -> None:
    free = choice.Choice(1, opened(n=2), HELD)
    assert (free.index, free.state, free.reason) == (1, HELD, None)
    assert free.counts is choice.NoCounts.AWAITED
    assert free.plain
    assert free.release("a#", None) == (None, [outputs.Content("a#", 1)])
    assert free.release_last(None) == (None, [])
    assert free.spill() == []


def test_what_is_held_is_kept_until_it_is_decided() -> None:
    one = scanned()
    assert one.release("a#", None) == (outputs.Decision(1), content("a"))
    assert one.held == "#"
    assert one.release("b#", None) == (outputs.Decision(2), content("#b"))
    assert one.held == "#"
    assert one.release_last(None) == (outputs.Decision(1), content("#"))
    assert one.held == ""
    assert one.release_last(None) == (None, [])


def test_what_follows_a_cut_is_dropped() -> None:
    one = scanned()
    assert one.release("a##b", None) == (outputs.Decision(1, "stop"), content("a"))
    assert one.held == ""
    assert one.spill() == []


def test_a_budget_is_charged_for_what_is_released_last() -> None:
    one = scanned(max_bytes=1)
    assert one.release("a#", None) == (outputs.Decision(1), content("a"))
    assert one.release_last(None) == (outputs.Decision(0, "length"), [])


def test_an_unforeseen_end_spills_what_is_held_once() -> None:
    one = scanned(max_bytes=1)
    one.release("a#", None)
    assert one.spill() == content("#")
    assert one.spill() == []


def test_a_decision_that_is_given_is_taken_whatever_the_text_says() -> None:
    masked = scanned()
    assert masked.release("**", outputs.Decision(1)) == (outputs.Decision(1), content("*"))
    assert masked.held == "*"
    assert masked.release("**", outputs.Decision(2)) == (outputs.Decision(2), content("**"))
    assert masked.release_last(outputs.Decision(1)) == (outputs.Decision(1), content("*"))
    masked = scanned()
    cut = outputs.Decision(1, "stop")
    assert masked.release("****", cut) == (cut, content("*"))
    assert masked.held == ""


def test_what_the_cut_off_releases_is_searched_for_calls() -> None:
    one = choice.Choice(0, opened(stop=("##",), tools=tooloptions.ToolOptions(names=("a",))), HELD)
    assert not one.plain
    assert one.release("x<#", None) == (
        outputs.Decision(2, None, (outputs.Piece("text", 1),)),
        content("x"),
    )
    assert (one.held, one.release_last(None)) == (
        "#",
        (outputs.Decision(1, None, (outputs.Piece("text", 2),)), content("<#")),
    )


def test_decisions_of_the_last_text_and_of_the_calls_behind_it_are_one() -> None:
    released = outputs.Decision(1, None, (outputs.Piece("text", 1),))
    settled = outputs.Decision(0, None, None, (outputs.Joined(0, "a"),), (1,))
    assert choice.merged(None, None) is None
    assert choice.merged(released, None) == released
    assert choice.merged(None, settled) == settled
    assert choice.merged(released, settled) == outputs.Decision(
        1, None, (outputs.Piece("text", 1),), (outputs.Joined(0, "a"),), (1,)
    )


def counted(*usages: events.Usage | None) -> choice.Counts:
    one = choice.Choice(0, opened(), HELD)
    for usage in usages:
        one.count(usage)
    return one.counts


def test_counts_are_the_maximum_of_each_field() -> None:
    assert counted() is choice.NoCounts.AWAITED
    assert counted(events.Usage(10, 5)) == events.Usage(10, 5)
    assert counted(events.Usage(10, 1, 4, 0), events.Usage(9, 7, 0, 2)) == events.Usage(
        10, 7, 4, 2
    )


def test_counts_that_never_come_are_unknown_unless_some_came_before() -> None:
    assert counted(None) is choice.NoCounts.UNKNOWN
    assert counted(None, events.Usage(1, 1)) is choice.NoCounts.UNKNOWN
    assert counted(events.Usage(1, 1), None) == events.Usage(1, 1)
