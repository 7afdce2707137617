"""The map of the house shows the imports that are there, and leads to what it names."""

import ast
import re
from pathlib import Path

import pytest

from tests.tools import house, redraw, sources

PAGE = (redraw.DOCS / "house.md").read_text(encoding="utf-8")
BOXES = re.findall(r'(?m)^ +(\w+)(?:\["[\w/]+"\]|\("[^"]+"\))$', PAGE)
"""The boxes of the picture, from the top down."""

ARROWS = re.findall(r"(?m)^ +(\w+) --> (\w+)$", PAGE)
QUESTIONS = re.findall(r"(?m)^\| ([^|]+\?) \| `([\w/]+\.py)` \| `([\w.]+)` \|", PAGE)
ROOMS = [
    module
    for module in sources.modules_of("machines", "engine", "server", "tests")
    if module.path.stem == "__init__" and not re.match(r"tests\.(?!support|tools)", module.name)
]


def test_no_arrow_of_the_picture_leads_up() -> None:
    assert len(BOXES) > 20
    assert len(ARROWS) > 20
    for upper, lower in ARROWS:
        assert BOXES.index(upper) < BOXES.index(lower), f"{upper} --> {lower}"


def test_every_room_and_every_module_above_rooms_is_in_the_picture() -> None:
    drawn = set(re.findall(r'\["(\w+)/"\]', PAGE))
    for label in re.findall(r'\("([^"]+)"\)', PAGE):
        drawn |= set(re.split(r",(?: |<br/>)", label))
    modules = [module.name for module in sources.PRODUCT if sources.layer_of(module.name)]
    assert drawn == {name.split(".")[1] for name in modules if "." in name}


def _leads(start: str, end: str) -> bool:
    """Whether arrows of the picture lead from one box to another."""
    return start == end or any(_leads(lower, end) for upper, lower in ARROWS if upper == start)


def test_every_import_between_rooms_is_a_way_along_arrows() -> None:
    boxes = {
        room: node.name.replace(".", "_").replace(" ", "_") for room, node in house.nodes().items()
    }
    for room, known in sources.room_imports().items():
        for other in known & boxes.keys():
            if room in boxes:
                assert _leads(boxes[room], boxes[other]), f"{room} imports {other}"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_lives_there_and_what_may_come_in(room: sources.Module) -> None:
    paragraphs = (ast.get_docstring(room.tree) or "").split("\n\n")
    assert len(paragraphs) > 1, f"{room.path}: say in a second paragraph what may come in"
    assert all(text.endswith(".") for text in paragraphs)


@pytest.mark.parametrize(("question", "path", "name"), QUESTIONS, ids=lambda part: str(part))
def test_an_answer_is_where_the_map_says(question: str, path: str, name: str) -> None:
    assert sources.resolve(path, name) is not None
    source = (sources.ROOT / path).read_text(encoding="utf-8")
    kept = rf"(?m)^ *(?:(?:async )?def|class) {name.split('.')[-1]}\b|^{name}\b.*="
    assert re.search(kept, source), f"{name} is not written in {path}, only imported"


def test_the_map_answers_ten_questions_and_more() -> None:
    section = PAGE.partition("\n## Questions\n")[2]
    assert len(QUESTIONS) == section.count("\n| ") - 2
    assert len(QUESTIONS) >= 10
    assert all(Path(path).suffix == ".py" for _, path, _ in QUESTIONS)
