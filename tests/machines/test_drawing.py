"""A drawing holds every transition, and nothing else."""

from machines import drawing, table

DOOR = table.Table(
    name="door",
    initial="shut",
    final=frozenset({"gone"}),
    states=("shut", "ajar", "gone"),
    events=("pull", "kick", "push", "burn"),
    transitions={
        ("shut", "pull"): "ajar",
        ("shut", "kick"): "ajar",
        ("ajar", "pull"): "ajar",
        ("ajar", "push"): "shut",
        ("ajar", "burn"): "gone",
    },
)

DIAGRAM = """\
stateDiagram-v2
    [*] --> shut
    shut --> ajar: pull, kick
    ajar --> ajar: pull
    ajar --> shut: push
    ajar --> gone: burn
    gone --> [*]"""

ROWS = """\
| in | on | goes to |
|---|---|---|
| `shut` | `pull`, `kick` | `ajar` |
| `ajar` | `pull` | itself |
| `ajar` | `push` | `shut` |
| `ajar` | `burn` | `gone` |"""

BLOCK = f"""\
<!-- drawn: door -->

```mermaid
{DIAGRAM}
```

{ROWS}

<!-- end drawn -->"""

DOORS = {"door": drawing.block(DOOR)}


def test_a_diagram_joins_the_events_of_an_arrow() -> None:
    assert drawing.mermaid(DOOR) == DIAGRAM


def test_a_table_lists_them_by_state() -> None:
    assert drawing.markdown(DOOR) == ROWS


def test_a_block_is_replaced_between_its_marks_and_nowhere_else() -> None:
    page = "# Doors\n\n<!-- drawn: door -->\nold\n<!-- end drawn -->\n\nMore \\1 text.\n"
    assert drawing.redraw(page, DOORS) == f"# Doors\n\n{BLOCK}\n\nMore \\1 text.\n"


def test_drawing_twice_changes_nothing() -> None:
    once = drawing.redraw(f"{BLOCK}\n", DOORS)
    assert drawing.redraw(once, DOORS) == once == f"{BLOCK}\n"


def test_a_block_of_another_name_is_left_alone() -> None:
    page = (
        "<!-- drawn: window -->\nold\n<!-- end drawn -->\n<!-- drawn: door --><!-- end drawn -->"
    )
    expected = f"<!-- drawn: window -->\nold\n<!-- end drawn -->\n{BLOCK}"
    assert drawing.redraw(page, DOORS) == expected
