"""Arguments come out whole, whether their fragments were pieces or repeats of all so far."""

import json

import pytest

from machines.tools.arguments import Arguments


def feed(pieces: list[str]) -> list[str]:
    """What goes on at each piece, and at the end."""
    arguments = Arguments()
    told = [arguments.add(piece) for piece in pieces]
    told.append(arguments.end())
    assert arguments.text() == "".join(told)
    return told


NESTED = '{"a":{"a":1}}'
PLAIN = '{"a":1}'


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (['{"a":', '{"a":1}}'], NESTED),
        (['{"a":', '{"a":', "1}}"], NESTED),
        (['{"a":', '{"a":1}'], '{"a":1}'),
        (['{"a":', '{"a":1', '{"a":1}'], '{"a":1}'),
        (['{"a":', '{"a":', '{"a":1}'], '{"a":1}'),
        (['{"a":', '{"a":{', '{"a":{"a":1}}'], NESTED),
        (['{"a":', '{"a":1}}', NESTED], NESTED),
        (["{", "{", "}"], "{}"),
        (["{}", "{}"], "{}"),
        (["{}", "{}", "{}"], "{}"),
        (["{", "{}", "{}"], "{}"),
        (['{"', '{"a', '{"a":1}'], '{"a":1}'),
        (['{"a":"\\', '{"a":"\\"', '{"a":"\\""}'], '{"a":"\\""}'),
        (['{"a":"{', '{"a":"{"}'], '{"a":"{"}'),
        (['{"a":"', '{\\"a\\":', '1}"}'], '{"a":"{\\"a\\":1}"}'),
        (['{"a":', '{"a":'], '{"a":{"a":'),
        (['{"a":', '{"a":1'], '{"a":{"a":1'),
        (["[", "[", "1", "]", "]"], "[[1]]"),
        (["[1,", "[1,2]"], "[1,2]"),
        (["[1,", "[1,2]]"], "[1,[1,2]]"),
        (["\n", "\n", "{}"], "\n\n{}"),
        (["{'a':", "{'a':1}"], "{'a':{'a':1}"),
        (["1", "1"], "11"),
        (['"\\', '"\\""'], '"\\"\\""'),
    ],
)
def test_repeats_and_nested_arguments(pieces: list[str], expected: str) -> None:
    assert "".join(feed(pieces)) == expected


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        (['{"a":"x', '{"a":"xy', '{"a":"xyz"}'], ['{"a":"x', "y", 'z"}', ""]),
        (["{", '{"a"', '{"a":1}'], ["{", '"a"', ":1}", ""]),
        (['{"', '{"a', '{"a":1}'], ['{"', "a", '":1}', ""]),
        (['{"a":', '{"a":1', "}", "}"], ['{"a":', "", "", '{"a":1}}', ""]),
        (['{"a":', '{"a":1', '{"a":12', "}"], ['{"a":', "", "12", "}", ""]),
        (['{"a":', '{"a":1}'], ['{"a":', "", "1}"]),
        (["{}", "{}", "\n"], ["{}", "", "\n", ""]),
    ],
)
def test_what_is_sure_goes_on_at_once(pieces: list[str], told: list[str]) -> None:
    assert feed(pieces) == told


@pytest.mark.parametrize("size", range(1, 12))
def test_ordinary_pieces_are_never_held(size: int) -> None:
    text = json.dumps({"path": "a.py", "edits": [{"old": "{", "new": '{"a": {}}'}], "n": 1})
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert feed(pieces) == [*pieces, ""]


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        ([], PLAIN),
        (['{"a":'], "1}"),
        (['{"a":', '{"a":1'], "1}"),
        ([PLAIN], ""),
        (['{"b"'], None),
        (['{ "a": 1 }'], ""),
    ],
)
def test_the_whole_completes_what_it_begins_with(pieces: list[str], told: str | None) -> None:
    arguments = Arguments()
    for piece in pieces:
        arguments.add(piece)
    assert arguments.take_whole(PLAIN) == told
    assert arguments.end() == ""


def test_pieces_of_the_whole_are_ignored() -> None:
    arguments = Arguments()
    arguments.take_whole(PLAIN)
    assert [arguments.add(piece) for piece in PLAIN] == [""] * len(PLAIN)
    assert arguments.text() == PLAIN
