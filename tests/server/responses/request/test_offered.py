"""The model is offered each tool by one name, and the client's own can be found again."""

import pytest

from machines.tooloptions import ToolShape
from server.chat.request import DeclaredFunction
from server.responses.request import declarations, offered as offers


def declared(
    name: str, namespace: str | None = None, text: bool = False, description: str | None = None
) -> declarations.Declared:
    shape = ToolShape(name, namespace, "custom" if text else "function")
    function = DeclaredFunction(name, description)
    return declarations.Declared(f"{namespace}.{name}", shape, function, has_grammar=text)


def names(*tools: declarations.Declared) -> list[str]:
    return [function.name for _, function in offers.offer(tools).functions]


def test_a_function_of_no_namespace_has_no_shape_of_its_own() -> None:
    found = offers.offer([declared("f")])
    assert (found.functions, found.shapes) == (
        (("None.f", DeclaredFunction("f")),),
        {},
    )


def test_a_name_that_nobody_else_has_stays() -> None:
    found = offers.offer([declared("f"), declared("exec", "functions", text=True)])
    assert [function.name for _, function in found.functions] == ["f", "exec"]
    assert found.shapes == {"exec": ToolShape("exec", "functions", "custom")}
    assert found.grammars == ("functions.exec.format",)


def test_the_namespace_stands_before_a_name_that_others_have() -> None:
    tools = [declared("f", "a"), declared("f"), declared("f", "b"), declared("a__f")]
    found = names(*tools)
    assert found[1:4:2] == ["f", "a__f"]
    assert found[2] == "b__f"
    assert found[0].startswith("a__f_")
    assert len(set(found)) == 4
    shapes = offers.offer(tools).shapes
    assert shapes == {found[0]: ToolShape("f", "a"), "b__f": ToolShape("f", "b")}


def test_a_name_does_not_hang_on_the_order() -> None:
    one, other = declared("f", "a"), declared("f", "b")
    assert names(one, other) == names(other, one)[::-1] == ["a__f", "b__f"]


def test_a_name_that_is_made_is_not_too_long() -> None:
    long = "n" * 60
    first, second = names(declared("f" * 30, long), declared("f" * 30, long + "m"))
    assert (len(first), len(second)) == (64, 64)
    assert first != second


def test_a_name_that_is_made_has_the_characters_that_the_api_takes() -> None:
    first, second, third = names(declared("f", "a.b"), declared("f", "a_b"), declared("f"))
    assert (first, third) == ("a_b__f", "f")
    assert second.startswith("a_b__f_")


def test_the_last_declaration_of_a_tool_counts() -> None:
    tools = [declared("f"), declared("g"), declared("f", text=True, description="new")]
    found = offers.offer(tools)
    assert [function.name for _, function in found.functions] == ["f", "g"]
    assert found.functions[0][1].description == "new"
    assert found.shapes == {"f": ToolShape("f", kind="custom")}


@pytest.mark.parametrize(
    ("namespace", "name", "known"),
    [
        ("a", "f", "a__f"),
        (None, "f", "f"),
        ("a", "g", "g"),
        (None, "g", "g"),
        (None, "gone", "gone"),
        ("a", "gone", "gone"),
        ("c", "g", "c__g"),
    ],
)
def test_a_tool_of_an_earlier_call_has_the_name_that_it_is_offered_by(
    namespace: str | None, name: str, known: str
) -> None:
    found = offers.offer([declared("f"), declared("f", "a"), declared("g", "a")])
    assert found.name(namespace, name) == known


def test_only_a_custom_tool_that_is_offered_takes_text() -> None:
    found = offers.offer([declared("f"), declared("p", "a", text=True)])
    assert [
        found.takes_text("a", "p"),
        found.takes_text(None, "p"),
        found.takes_text(None, "f"),
    ] == [
        True,
        True,
        False,
    ]
    assert found.inside("a") == {"p"}
