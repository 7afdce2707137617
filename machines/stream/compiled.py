"""The table of a stream's machine, compiled of `machines.stream.declared`.

Written by `python -m tests.tools.redraw`, and held to the declaration by a test: change that.
"""

from typing import Final

from machines.table import Table

TABLE: Final = Table(
    name="stream",
    initial="held",
    final=frozenset(("done", "failed", "abandoned")),
    states=(
        "held",
        "role",
        "content",
        "tool_buffering",
        "finish",
        "usage",
        "done",
        "failed",
        "abandoned",
    ),
    events=(
        "head_due",
        "begin",
        "text",
        "call",
        "finished",
        "fail",
        "abandon",
        "notice",
        "keepalive",
        "counted",
        "completed",
    ),
    transitions={
        ("held", "head_due"): "role",
        ("held", "begin"): "content",
        ("held", "text"): "content",
        ("held", "call"): "tool_buffering",
        ("held", "finished"): "finish",
        ("held", "fail"): "failed",
        ("held", "abandon"): "abandoned",
        ("held", "notice"): "held",
        ("role", "begin"): "content",
        ("role", "text"): "content",
        ("role", "call"): "tool_buffering",
        ("role", "finished"): "finish",
        ("role", "fail"): "failed",
        ("role", "abandon"): "abandoned",
        ("role", "keepalive"): "role",
        ("role", "notice"): "role",
        ("content", "text"): "content",
        ("content", "call"): "tool_buffering",
        ("content", "finished"): "finish",
        ("content", "fail"): "failed",
        ("content", "abandon"): "abandoned",
        ("content", "keepalive"): "content",
        ("content", "notice"): "content",
        ("tool_buffering", "text"): "content",
        ("tool_buffering", "call"): "tool_buffering",
        ("tool_buffering", "finished"): "finish",
        ("tool_buffering", "fail"): "failed",
        ("tool_buffering", "abandon"): "abandoned",
        ("tool_buffering", "keepalive"): "tool_buffering",
        ("tool_buffering", "notice"): "tool_buffering",
        ("finish", "counted"): "usage",
        ("finish", "completed"): "done",
        ("finish", "fail"): "failed",
        ("finish", "abandon"): "abandoned",
        ("finish", "keepalive"): "finish",
        ("finish", "notice"): "finish",
        ("usage", "completed"): "done",
    },
)
"""Where each event leads from each state."""
