"""Plays a stream from a script: `>>` feeds the machine an event, `<<` says what must come of it.

    assert (
        Playbook(opened())
        >> TextDelta("Hi")
        << Head() << Role() << Content("Hi")
        >> TurnFinished("stop")
        << Finish("stop") << Done()
    )

An event without a `<<` after it must have no outputs. A playbook that differs fails with both
sides in two columns; one that nobody asserts fails when it is collected.
"""

from typing import Any, Self

from machines import events, outputs
from machines.stream import machine as stream

OPENED = events.Opened(
    request_id="req_1",
    completion_id="chatcmpl-1",
    created=1_795_293_345,
    model="m",
    target="gpt-5.5",
    worker="scripted",
)
"""A stream of one choice, without usage, stop sequences or a limit."""


def opened(**options: Any) -> events.Opened:
    """`OPENED` with other options."""
    members = {name: getattr(OPENED, name) for name in OPENED.__struct_fields__}
    return events.Opened(**members | options)


class Playbook:
    """A stream and what shall happen to it.

    Attributes:
        stream: the machine; what it is after the script can be asked once it was asserted.
    """

    def __init__(self, first: events.Opened) -> None:
        self.stream = stream.Stream(first)
        self._script: list[tuple[events.StreamInput, list[outputs.AnyOutput]]] = []
        self._asserted = False

    def __rshift__(self, event: events.StreamInput) -> Self:
        self._script.append((event, []))
        return self

    def __lshift__(self, output: outputs.AnyOutput) -> Self:
        self._script[-1][1].append(output)
        return self

    def __bool__(self) -> bool:
        """Play the script; the playbook can go on after it."""
        self._asserted = True
        rows: list[tuple[str, str, str]] = []
        same = True
        for event, expected in self._script:
            got = list(self.stream.step(event).outputs)
            same = same and got == expected
            rows.append((">>", repr(event), ""))
            for index in range(max(len(expected), len(got))):
                left, right = _cell(expected, index), _cell(got, index)
                rows.append(("<<" if left == right else "!!", left, right))
        self._script.clear()
        if not same:
            raise AssertionError(_columns(rows))
        return True

    def __del__(self) -> None:
        # Raised from here, it reaches `sys.unraisablehook`, which pytest turns into a failure.
        if not self._asserted:
            raise AssertionError("a playbook was never asserted")


def _cell(outputs: list[outputs.AnyOutput], index: int) -> str:
    return repr(outputs[index]) if index < len(outputs) else ""


def _columns(rows: list[tuple[str, str, str]]) -> str:
    """Expected on the left, what came on the right, `!!` where they differ."""
    width = max([8, *(len(left) for mark, left, _ in rows if mark != ">>")])
    lines = [f"   {'expected':{width}} | got"]
    lines += [f"{mark} {left:{width}} | {right}".rstrip(" |") for mark, left, right in rows]
    return "\n".join(lines)
