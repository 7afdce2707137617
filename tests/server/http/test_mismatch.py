"""The first place that does not fit is found, and said in words that are ours alone."""

import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, strategies as st
from msgspec import Meta

from server.chat import request as chatbodies
from server.http import mismatch
from server.responses.request import body as responsesbodies, input_items

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats(-3, 3)
    | st.sampled_from(["", "text", "function", "user", "auto", "allowed_tools", "x" * 300]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "text", "name", "id", "function", "tools", "mode"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


class Node(msgspec.Struct, forbid_unknown_fields=True):
    """What the types of requests do not have."""

    id: Annotated[str, Meta(pattern="^[a-z]+$")]
    content: "list[Node] | None" = None
    name: list[list[int]] | dict[str, float] | bool = False


KINDS: list[Any] = [
    chatbodies.ChatMessage,
    chatbodies.ToolChoice,
    chatbodies.ToolEntry[chatbodies.DeclaredFunction],
    chatbodies.AllowedTools,
    chatbodies.StreamOptions,
    chatbodies.ResponseFormat,
    responsesbodies.ToolChoice,
    responsesbodies.TextOptions,
    input_items.Message,
    input_items.InputImage,
    input_items.Reasoning,
    Node,
    list[str | None],
    dict[str, Annotated[int, Meta(ge=0)]],
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(value=JSON)
def test_a_mismatch_is_found_where_there_is_one_and_nowhere_else(kind: Any, value: Any) -> None:
    """Invariant: whatever the decoder refuses has a place, and what it takes has none."""
    data = json.dumps(value).encode()
    try:
        msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        found = mismatch.find(kind, value, "here")
        assert found is not None
        assert found.path.startswith("here")
        assert found.problem
        assert found.message.endswith(".")
    else:
        assert mismatch.find(kind, value, "here") is None


FIVE = Annotated[int, Meta(ge=1, le=5)]
RATE = Annotated[float, Meta(ge=-2, le=2)]
SHORT = Annotated[str, Meta(min_length=1, max_length=3)]
FEW = Annotated[list[str], Meta(min_length=1, max_length=2)]
WORD = Literal["a", "b", "c"]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, "1", "Invalid type for 'x': expected an integer, but got a string instead."),
        (int, 1.0, "Invalid type for 'x': expected an integer, but got a decimal instead."),
        (float, True, "Invalid type for 'x': expected a decimal, but got a boolean instead."),
        (bool, 0, "Invalid type for 'x': expected a boolean, but got an integer instead."),
        (str | None, [], "Invalid type for 'x': expected a string, but got an array instead."),
        (str, None, "Invalid type for 'x': expected a string, but got null instead."),
        (
            str | list[chatbodies.Content] | None,
            {},
            (
                "Invalid type for 'x': expected one of a string or array of objects,"
                " but got an object instead."
            ),
        ),
        (
            list[str],
            1,
            "Invalid type for 'x': expected an array of strings, but got an integer instead.",
        ),
        (
            list[msgspec.Raw],
            1,
            "Invalid type for 'x': expected an array, but got an integer instead.",
        ),
        (
            WORD,
            1,
            "Invalid type for 'x': expected one of 'a', 'b', or 'c', but got an integer instead.",
        ),
        (
            WORD | dict[str, Any],
            1,
            (
                "Invalid type for 'x': expected one of 'a', 'b', 'c', or object,"
                " but got an integer instead."
            ),
        ),
        (WORD, "d", "Invalid value: 'd'. Supported values are: 'a', 'b', and 'c'."),
        (Literal["a", "b"], "d", "Invalid value: 'd'. Supported values are: 'a' and 'b'."),
        (
            FIVE,
            0,
            "Invalid 'x': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
        (
            RATE,
            2.5,
            (
                "Invalid 'x': decimal above maximum value."
                " Expected a value <= 2, but got 2.5 instead."
            ),
        ),
        (
            float,
            10**400,
            (
                "Invalid 'x': decimal out of range. Expected a value that 64 bits can hold,"
                f" but got 1{'0' * 63} instead."
            ),
        ),
        (
            SHORT,
            "",
            (
                "Invalid 'x': empty string."
                " Expected a string with minimum length 1, but got an empty string instead."
            ),
        ),
        (
            SHORT,
            "abcd",
            (
                "Invalid 'x': string too long."
                " Expected a string with maximum length 3, but got a string with length 4 instead."
            ),
        ),
        (
            FEW,
            [],
            (
                "Invalid 'x': empty array."
                " Expected an array with minimum length 1, but got an empty array instead."
            ),
        ),
        (
            FEW,
            ["a"] * 3,
            (
                "Invalid 'x': array too long."
                " Expected an array with maximum length 2, but got an array with length 3 instead."
            ),
        ),
        (Node, {}, "Missing required parameter: 'x.id'."),
        (Node, {"id": "a", "other": 1}, "Unknown parameter: 'x.other'."),
        (
            Node,
            {"id": "A"},
            (
                "Invalid 'x.id': string does not match pattern."
                " Expected a string that matches the pattern '^[a-z]+$', but got 'A' instead."
            ),
        ),
    ],
)
def test_it_is_said_as_the_api_says_it(kind: Any, value: Any, message: str) -> None:
    found = mismatch.find(kind, value, "x")
    assert found is not None
    assert found.message == message


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        (Node, {"id": "a", "content": [{"id": "b"}, {"id": 1}]}, "content[1].id"),
        (Node, {"name": 1, "id": 1}, "name"),
        (Node, {"id": "a", "name": [[1], [2, "3"]]}, "name[1][1]"),
        (Node, {"id": "a", "name": {"k": "v"}}, "name.k"),
        (chatbodies.ChatMessage, {"content": [{"type": "image_url"}]}, "content[0].image_url"),
        (chatbodies.ToolCall, {"id": "c", "function": None}, "function"),
        (list[chatbodies.ToolCall], [{"id": "c"}], "[0].function"),
    ],
)
def test_the_first_in_the_order_of_the_text_is_named(kind: Any, value: Any, path: str) -> None:
    found = mismatch.find(kind, value)
    assert found is not None
    assert found.path == path


LONG = "w" * 100_000


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (WORD, LONG),
        (dict[str, int], {LONG: "1"}),
        (Node, {LONG: 1}),
        (Node, {"id": LONG + "1"}),
        (FIVE, 10**4000),
        (chatbodies.Content, {"type": LONG}),
    ],
)
def test_what_is_repeated_of_a_value_is_cut(kind: Any, value: Any) -> None:
    found = mismatch.find(kind, value, "x")
    assert found is not None
    assert len(found.message) < 300
    assert len(found.path) < 100
