"""What streams and bodies share of calls: blocks as content, and counts."""

from machines import outputs
from machines.tooloptions import ToolOptions
from server.chat import tool_render
from tests.support.machines import playbook


def test_a_delimiter_stands_between_two_blocks_of_a_choice() -> None:
    opened = playbook.opened(n=2, tools=ToolOptions(delimiter="\n--\n"))
    blocks = tool_render.Blocks(opened)
    first = blocks.text(outputs.ToolBlock("add", '{"a":1}', 0))
    assert first == "<use_tool>\n  <name>add</name>\n  <a>1</a>\n</use_tool>"
    assert blocks.text(outputs.ToolBlock("add", '{"a":1}', 0)) == "\n--\n" + first
    assert blocks.text(outputs.ToolBlock("add", '{"a":1}', 1)) == first


def test_counts_of_all_choices_add_up() -> None:
    counts = tool_render.Counts()
    counts.add(outputs.ToolCounts(2, truncated=False, choice=0))
    assert counts.headers() == [
        ("x-codex-tool-call-count", "2"),
        ("x-codex-tool-call-truncated", "false"),
    ]
    counts.add(outputs.ToolCounts(3, truncated=True, choice=1))
    counts.add(outputs.ToolCounts(0, truncated=False, choice=2))
    assert counts.comments() == (
        b": x-codex-tool-call-count: 5\n\n: x-codex-tool-call-truncated: true\n\n"
    )
