"""A client's functions under the names that Codex takes."""

import re

import hypothesis
import msgspec
import pytest
from hypothesis import strategies

from engine import slices, worker
from engine.codex.request import tools

TAKEN = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
"""What `thread/start` says it takes."""

NAMES = strategies.text() | strategies.sampled_from(
    ("exec_command", "apply_patch", "mcp", "mcp__fs__read", "get_weather", "a.b", "a b", "天気")
)


def toolset(*names: str) -> tools.Toolset:
    """Functions of these names."""
    return described(*(worker.Tool(name) for name in names))


def described(*declared: worker.Tool) -> tools.Toolset:
    """These functions, ready for a thread."""
    made = tools.Toolset(declared)
    slices.at_once(made.describe())
    return made


def declared(found: tools.Toolset) -> list[str]:
    """What Codex is told of, in order."""
    return [tool.name for tool in found.dynamic_tools]


@pytest.mark.parametrize("name", ["get_weather", "a", "-", "Bash", "mcp_x", "MCP__x", "x" * 64])
def test_a_name_that_codex_takes_stays(name: str) -> None:
    found = toolset(name)
    assert declared(found) == [name]
    assert (found.alias(name), found.name(name)) == (name, name)
    assert found.dynamic_tools[0].description == ""


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("exec_command", "exec_command_[0-9a-f]{8}"),
        ("shell_command", "shell_command_[0-9a-f]{8}"),
        ("apply_patch", "apply_patch_[0-9a-f]{8}"),
        ("mcp", "mcp_[0-9a-f]{8}"),
        ("mcp__fs__read_file", "mcp_fs_read_file_[0-9a-f]{8}"),
        ("files.read", "files_read_[0-9a-f]{8}"),
        ("get weather\n", "get_weather_[0-9a-f]{8}"),
        ("天気", "function_[0-9a-f]{8}"),
        ("", "function_[0-9a-f]{8}"),
        ("\ud800", "function_[0-9a-f]{8}"),
        ("x" * 129, "x{48}_[0-9a-f]{8}"),
    ],
)
def test_any_other_name_is_aliased_and_back(name: str, alias: str) -> None:
    found = toolset("get_weather", name)
    assert re.fullmatch(alias, found.alias(name))
    assert declared(found) == ["get_weather", found.alias(name)]
    assert found.name(found.alias(name)) == name


def test_the_model_is_told_the_name_that_its_user_knows() -> None:
    found = described(worker.Tool("天気", "The weather."))
    assert found.dynamic_tools[0].description == "The weather.\n\nAlso called 天気"


def test_an_alias_is_the_same_in_every_turn() -> None:
    names = ("files.read", "exec_command", "天気", "files read")
    once, again = toolset(*names), toolset("other", *reversed(names))
    assert [once.alias(name) for name in names] == [again.alias(name) for name in names]
    assert once.alias("exec_command") == "exec_command_e0de05c7"


def test_a_function_that_is_gone_has_the_alias_it_had() -> None:
    before, after = toolset("exec_command", "get_weather"), toolset()
    for name in ("exec_command", "get_weather"):
        assert after.alias(name) == before.alias(name)


def test_a_name_that_nothing_stands_for_comes_back() -> None:
    assert toolset("files.read").name("files_write_00000000") == "files_write_00000000"


def test_an_alias_that_a_client_uses_itself_is_not_taken_twice() -> None:
    theirs = toolset("exec_command").alias("exec_command")
    for found in (toolset("exec_command", theirs), toolset(theirs, "exec_command")):
        assert found.alias(theirs) == theirs
        assert found.alias("exec_command") != theirs
        assert found.name(theirs) == theirs
        assert found.name(found.alias("exec_command")) == "exec_command"


def test_a_function_of_history_is_not_mistaken_for_a_declared_one() -> None:
    found = toolset("exec_command")
    gone = found.alias("exec_command")
    assert found.alias(gone) not in (gone, "exec_command")


def test_of_two_functions_by_one_name_the_first_counts() -> None:
    found = described(worker.Tool("f", "one"), worker.Tool("f", "two"))
    assert [(tool.name, tool.description) for tool in found.dynamic_tools] == [("f", "one")]


def test_a_function_is_what_thread_start_takes() -> None:
    schema = msgspec.Raw(b'{"type":"object","properties":{"city":{"type":"string"}}}')
    found = described(worker.Tool("weather", "Tells \ud800it.", schema))
    assert msgspec.json.decode(msgspec.json.encode(found.dynamic_tools)) == [
        {
            "type": "function",
            "name": "weather",
            "description": "Tells \ufffdit.",
            "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
    ]


@hypothesis.given(strategies.lists(NAMES, unique=True), strategies.lists(NAMES))
def test_names_survive_there_and_back(names: list[str], others: list[str]) -> None:
    found = toolset(*names)
    aliases = declared(found)
    assert [found.name(alias) for alias in aliases] == names
    assert len(set(aliases)) == len(aliases)
    for alias in (*aliases, *(found.alias(name) for name in others)):
        assert TAKEN.fullmatch(alias)
        assert alias != "mcp"
        assert not alias.startswith(("mcp__", "exec_command\0"))
    assert not {"exec_command", "shell_command", "apply_patch"} & set(aliases)
