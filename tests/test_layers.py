"""The house rules that a test can hold: layers, purity, sizes, reasons, who changes state.

Which module is in which layer and room, and what it imports, is in `tests/tools/sources.py`.
"""

import ast
import graphlib
import io
import re
import tokenize
from collections.abc import Iterator

import pytest

from tests.tools.sources import (
    LAYERS,
    NAMES,
    OUTSIDE,
    PRODUCT,
    ROOT,
    Module,
    imports_of,
    layer_of,
    modules_of,
    room_imports,
    room_of,
)

NOT_OURS = ("artifacts", "build", "dist", "node_modules")
"""What tools leave in the checkout."""

EXAMPLES = ROOT / "docs" / "examples"
"""Programs of other people, as the documentation shows them."""

PURE = {
    "collections",
    "dataclasses",
    "enum",
    "itertools",
    "json",
    "msgspec",
    "re",
    "statemachine",
    "sys",
    "typing",
}
"""All that `machines` may import besides itself."""

STRANGERS = {
    "engine.codex": ("engine.upstream", "engine.log"),
    "engine.upstream": ("engine.codex", "engine.log"),
}
"""Rooms, and those that they do not know."""

MODULE_LINES = 400
FUNCTION_LINES = 60


TESTS = modules_of("tests")


def each(*modules: list[Module]) -> pytest.MarkDecorator:
    """Run a test once a module."""
    every = [module for group in modules for module in group]
    return pytest.mark.parametrize("module", every, ids=lambda module: module.name)


def test_every_source_file_has_a_place() -> None:
    for path in ROOT.rglob("*.py"):
        package = path.relative_to(ROOT).parts[0]
        ours = not package.startswith(".") and package not in NOT_OURS
        ours &= not path.is_relative_to(EXAMPLES)
        assert not ours or package in (*LAYERS, *OUTSIDE), f"{path} belongs to no layer"


@each(PRODUCT)
def test_imports_go_down_the_layers(module: Module) -> None:
    own = layer_of(module.name)
    if own is None:
        return
    for line, name in imports_of(module.tree):
        if name.split(".")[0] in (*LAYERS, *OUTSIDE):
            layer = layer_of(name)
            assert layer is not None, f"{module.path}:{line}: {name} is outside the layers"
            assert LAYERS.index(layer) <= LAYERS.index(own), (
                f"{module.path}:{line}: {name} is above"
            )


@each(PRODUCT)
def test_words_of_another_layer_are_read_with_their_module(module: Module) -> None:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module in NAMES:
            for alias in node.names:
                is_module = f"{node.module}.{alias.name}" in NAMES
                same = layer_of(node.module) == layer_of(module.name)
                assert is_module or same, (
                    f"{module.path}:{node.lineno}: import {node.module}, not {alias.name} from it"
                )


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        module.name: {name for _, name in imports_of(module.tree) if name in NAMES} - {module.name}
        for module in PRODUCT
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, naming the cycle


@pytest.mark.parametrize("depth", [1, 2])
def test_no_room_imports_itself_by_way_of_others(depth: int) -> None:
    """A folder is a room; a module at the top of a layer, or of a room, is one by itself."""
    assert depth == 1 or "engine.codex.turns" in room_imports(depth)
    order = graphlib.TopologicalSorter(room_imports(depth)).static_order()
    tuple(order)  # raises CycleError, naming the rooms


@pytest.mark.parametrize(("room", "strangers"), STRANGERS.items(), ids=STRANGERS)
def test_a_worker_knows_neither_the_other_one_nor_the_log(
    room: str, strangers: tuple[str, ...]
) -> None:
    of_room = [module for module in PRODUCT if room_of(module.name) == room]
    assert of_room
    for module in of_room:
        for line, name in imports_of(module.tree):
            assert room_of(name) not in strangers, f"{module.path}:{line}: {name}"


@each(modules_of("machines"))
def test_machines_import_nothing_that_has_a_clock_a_socket_or_chance(module: Module) -> None:
    for line, name in imports_of(module.tree):
        top = name.split(".")[0]
        assert top in PURE | {"machines"}, f"{module.path}:{line}: {name}"


SHIPPED = [module for module in PRODUCT if layer_of(module.name) is not None]
"""What the wheel has."""

TESTED_BY = {
    "machines.stream.declared": (
        "machines/stream/test_states.py",
        "the table that is compiled of it walks beside it",
    ),
    "machines.table": ("machines/test_compiler.py", "what it holds is compiled there"),
    "engine.codex.protocol.notifications": (
        "engine/codex/protocol/test_appserver.py",
        "both sides of the protocol are held to the same recordings",
    ),
    "engine.log.timeline.codes": (
        "engine/log/timeline/test_causes.py",
        "sentences, each held against the codes that there are",
    ),
    "server.api.opening": (
        "server/api/test_answering.py",
        "what it makes is seen in logs and by workers",
    ),
    "server.launcher.turntape.testing": (
        "server/cli/log/test_testcase.py",
        "what the tests that `turntape test` makes call",
    ),
    "engine.log.timeline.timeline": (
        "engine/log/timeline/test_fold.py",
        "shapes, and what is folded into them",
    ),
    "engine.log.format.exports": (
        "engine/log/derive/test_exporting.py",
        "two shapes, written and read there",
    ),
    "engine.log.summary.settings": (
        "engine/log/summary/test_keeper.py",
        "data, and what becomes of it",
    ),
    "engine.log.settings": ("engine/log/test_event_log.py", "data, and what the log makes of it"),
    "engine.store.store": ("engine/store/test_sqlite.py", "a protocol: `store_contract` holds it"),
    "server.cli.config": ("server/cli/test_command_line.py", "the command is run"),
    "server.cli.configured": ("server/cli/test_command_line.py", "commands with settings are run"),
    "server.cli.demo": ("test_readme.py", "the page's command is run"),
    "server.cli.log.asking": ("server/cli/log/test_listing.py", "each filter is given there"),
    "server.cli.logout": ("server/cli/test_login.py", "the command is run"),
    "server.cli.serve": ("server/cli/test_command_line.py", "the command is run"),
    "server.config.host_settings": ("server/config/test_settings.py", "fields of one `Config`"),
    "server.metrics.readings": (
        "server/metrics/test_exposition.py",
        "two shapes, written out there",
    ),
    "server.mock.scopes": ("server/mock/test_front.py", "it is seen by those who ask it"),
    "server.logschema.fields": ("server/logschema/test_lines.py", "each is used by a line"),
    "server.logschema.serving": ("server/logschema/test_lines.py", "lines, with all others"),
    "server.logschema.storage": ("server/logschema/test_lines.py", "lines, with all others"),
    "server.logschema.tracing": ("server/logschema/test_lines.py", "lines, with all others"),
    "server.logschema.workers": ("server/logschema/test_lines.py", "lines, with all others"),
    "server.process.exits": ("test_docs.py", "numbers, held against the page's table"),
    "server.responses.creation": ("server/responses/test_endpoint.py", "it is the endpoint's way"),
    "server.responses.render.answer": (
        "server/responses/render/test_items.py",
        "what both renderers share is seen as items",
    ),
    "server.responses.render.rendering": (
        "server/responses/render/test_fold.py",
        "it chooses between two renderers",
    ),
    "server.version": ("test_packaging.py", "the wheel's metadata must say the same"),
}
"""Modules whose tests have another's name: the file below `tests/`, and why."""


@each(SHIPPED)
def test_a_module_names_its_test(module: Module) -> None:
    if module.path.stem in ("__init__", "__main__"):
        return
    own = module.path.relative_to(ROOT).with_name(f"test_{module.path.stem}.py")
    elsewhere, reason = TESTED_BY.get(module.name, (None, ""))
    if elsewhere is None:
        assert (ROOT / "tests" / own).is_file(), f"tests/{own} is missing"
    else:
        assert (ROOT / "tests" / elsewhere).is_file(), f"tests/{elsewhere} is missing"
        assert reason
        assert not (ROOT / "tests" / own).exists(), f"{module.name} has tests of its own now"


def test_what_is_tested_elsewhere_is_there() -> None:
    assert TESTED_BY.keys() <= {module.name for module in SHIPPED}


def test_a_test_of_a_shipped_folder_is_below_a_folder_of_that_name() -> None:
    folders = {path.parent.relative_to(ROOT) for path in (module.path for module in SHIPPED)}
    for package in ("machines", "engine", "server"):
        for path in (ROOT / "tests" / package).rglob("test_*.py"):
            mirrored = path.parent.relative_to(ROOT / "tests")
            assert mirrored in folders, f"{path} mirrors no folder"


@each(PRODUCT, TESTS)
def test_a_module_says_what_it_is_for(module: Module) -> None:
    assert ast.get_docstring(module.tree)


@each(PRODUCT)
def test_a_module_can_be_read_in_one_sitting(module: Module) -> None:
    assert module.source.count("\n") <= MODULE_LINES
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.body[0].lineno + 1
            assert lines <= FUNCTION_LINES, f"{module.path}:{node.lineno}: {node.name}: {lines}"


DIRECTIVE = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?"
    r"|type:\s*ignore(?:\[[\w\-, ]*\])?"
    r"|pragma:\s*[\w ]+?"
    r"|(?:fmt|ruff|mypy):\s*[\w\-=, ]+?)"
    r"(?P<reason>\s+(?:#|-+)\s*\w+.*)?$"
)
"""A comment that switches a check off, and the reason after it."""


def unexplained(source: str) -> list[str]:
    """The comments of a source that switch a check off and do not say why."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    found = (re.search(r"#\s*(?:noqa|type:|pragma|fmt:|ruff:|mypy:).*", text) for text in comments)
    switches = [match[0] for match in found if match]
    return [
        text for text in switches if not ((match := DIRECTIVE.match(text)) and match["reason"])
    ]


@pytest.mark.parametrize(
    ("comment", "explained"),
    [
        ("# noqa", False),
        ("# noqa: S101", False),
        ("# noqa: S101, E501", False),
        ("# noqa: S101 # the caller checked", True),
        ("# noqa: S101 - the caller checked", True),
        ("# type: ignore", False),
        ("# type: ignore[misc]", False),
        ("# type: ignore[misc]  # h11 has no types", True),
        ("# pragma: no cover", False),
        ("# pragma: no cover -- only on Windows", True),
        ("# fmt: off", False),
        ("# why this is so", True),
    ],
)
def test_a_reason_is_told_from_none(comment: str, explained: bool) -> None:
    assert unexplained(f"x = 1  {comment}\n") == ([] if explained else [comment])


@each(PRODUCT, TESTS)
def test_a_check_is_switched_off_only_with_a_reason(module: Module) -> None:
    assert unexplained(module.source) == []


def assignments_in(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Every attribute that is assigned or deleted, however it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("setattr", "delattr", "setattr__", "delattr__"))
            and len(node.args) > 1
            and isinstance(node.args[1], ast.Constant)
        ):
            yield ast.Attribute(node.args[0], str(node.args[1].value), lineno=node.lineno)


def is_own(attribute: ast.Attribute) -> bool:
    """Whether it is an attribute of the object whose method this is."""
    return isinstance(attribute.value, ast.Name) and attribute.value.id == "self"


def machines_in(module: Module) -> Iterator[ast.ClassDef]:
    """The classes that are stepped or fed."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
            if methods & {"step", "feed"}:
                yield node


STATE = {
    attribute.attr
    for module in PRODUCT
    if layer_of(module.name) == "machines"
    for machine in machines_in(module)
    for attribute in assignments_in(machine)
    if is_own(attribute)
}
"""The names under which machines keep their state."""


def foreign_changes(tree: ast.Module) -> list[str]:
    """Where a module changes the state of an object that is not its own.

    A module that declares mutable fields of such a name may assign those.
    """
    fields = {
        part.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and "frozen" not in {key.arg for key in node.keywords}
        for part in node.body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    return [
        f"line {attribute.lineno}: {ast.unparse(attribute)}"
        for attribute in assignments_in(tree)
        if attribute.attr in STATE - fields and not is_own(attribute)
    ]


@pytest.mark.parametrize(
    "line",
    [
        "stream.state = 'done'",
        "self.machine.state: str = 'done'",
        "pump.stream.state, x = 'done', 1",
        "del stream.state",
        "for stream.state in ('done',): pass",
        "setattr(stream, 'state', 'done')",
        "object.__setattr__(stream, 'state', 'done')",
    ],
)
def test_a_change_from_outside_is_noticed(line: str) -> None:
    assert "state" in STATE
    assert len(foreign_changes(ast.parse(line))) == 1
    report = "class Report(Struct, frozen=True):\n    state: str\n"
    assert len(foreign_changes(ast.parse(report + line))) == 1
    assert foreign_changes(ast.parse(report.replace(", frozen=True", "") + line)) == []


@each([module for module in PRODUCT if layer_of(module.name) != "machines"])
def test_nobody_changes_the_state_of_a_machine_from_outside(module: Module) -> None:
    assert foreign_changes(module.tree) == []


@each(modules_of("machines"))
def test_only_step_and_feed_change_a_machine(module: Module) -> None:
    for machine in machines_in(module):
        for method in machine.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                changes = [a.attr for a in assignments_in(method) if is_own(a)]
                allowed = method.name in ("step", "feed") or not changes
                assert allowed, f"{module.path}:{method.lineno}: {method.name} assigns {changes}"
