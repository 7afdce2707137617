"""Whatever a model writes about calls, nothing of it is lost and nothing breaks."""

import itertools

from hypothesis import given, strategies as st

from machines.tools import blocks as usetool, fragments as toolcalls, obsidian
from tests.fuzz import inputs
from tests.support.machines.stories import ALPHABET, TAGGED

XML = st.lists(
    st.sampled_from(
        (
            "<use_tool",
            ">",
            "/>",
            "</use_tool>",
            "<name>a</name>",
            "<x>",
            "</x>",
            "<args>",
            "{}",
            '"',
        )
    )
    | st.text(ALPHABET, max_size=3),
    max_size=12,
).map("".join)


@inputs.MANY
@given(XML | TAGGED, inputs.CUTS)
def test_every_character_comes_out_of_the_scanner_once(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(at % (len(text) + 1) for at in cuts), len(text)]
    scanner = usetool.Scanner()
    pieces = [
        piece
        for start, end in itertools.pairwise(edges)
        for piece in scanner.feed(text[start:end])
    ]
    pieces += scanner.end()
    raw = (
        piece.raw if isinstance(piece, usetool.Block) else getattr(piece, "text", "")
        for piece in pieces
    )
    assert "".join(raw) == text


@inputs.MANY
@given(XML)
def test_a_block_is_a_call_whose_canonical_form_is_that_call_or_none(body: str) -> None:
    call = obsidian.read(f"<use_tool>{body}</use_tool>")
    if call is not None:
        again = obsidian.read(obsidian.canonical(call.name, call.arguments))
        assert again is not None
        assert again.name == call.name.strip()


FRAGMENTS = st.builds(
    toolcalls.Fragment,
    st.none() | st.integers(-1, 2),
    st.none() | st.sampled_from(("", "i", "j")),
    st.none() | st.sampled_from(("", "f", "g")),
    st.none() | st.text('{}[]"\\:, a1', max_size=6),
    st.booleans(),
)


@inputs.MANY
@given(st.lists(FRAGMENTS, max_size=12), st.lists(FRAGMENTS, max_size=3))
def test_any_fragments_are_calls_with_ids_and_arguments_of_their_own(
    fragments: list[toolcalls.Fragment], whole: list[toolcalls.Fragment]
) -> None:
    joiner = toolcalls.Joiner("call_")
    changes = [change for each in fragments for change in joiner.ingest_delta(each)]
    changes += [change for each in whole for change in joiner.ingest_whole(each) or ()]
    changes += joiner.end()
    told: dict[int, str] = {}
    for change in changes:
        assert isinstance(change, toolcalls.Opened) == (change.index not in told)
        assert not isinstance(change, toolcalls.Marked)
        told[change.index] = told.get(change.index, "") + change.arguments
    calls = joiner.snapshot()
    assert {call.index: call.arguments for call in calls} == told
    assert len({call.call_id for call in calls}) == len(calls)
    assert all(call.name for call in calls)
