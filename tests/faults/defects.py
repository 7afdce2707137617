"""Row 41 of the fault matrix, whatever the worker: where a bug is met, and what its client sees.

The answer that is hit is `Hel`, `lo` and a good end, each in a wake-up of its own; `BUGS` says
how much of it a client gets, by the place and the call that raises.
"""

import enum
import json
from collections import Counter
from typing import Any, Final, NamedTuple

import pytest

from tests.faults import expected, observed, planting, scene

TEXTS: Final = ("Hel", "lo")

MESSAGE: Final = "The server had an error."

ERROR: Final = expected.error("internal_error", MESSAGE)
"""How a stream ends that was hit."""


class End(enum.Enum):
    """How an answer ends that was hit.

    TOLD: with the error. CUT: its connection is closed, and HTTP says that it is not whole.
    WHOLE: well, for what failed was not the answer.
    """

    TOLD = enum.auto()
    CUT = enum.auto()
    WHOLE = enum.auto()


class Last(enum.Enum):
    """What the last record says of it.

    DEFECT: that it ended so, and the bytes that came. UNSENT: the same, but other bytes came than
    were rendered. WRITTEN: that it is whole, for that was on file before its last bytes failed.
    """

    DEFECT = enum.auto()
    UNSENT = enum.auto()
    WRITTEN = enum.auto()


class Bug(NamedTuple):
    """A bug, and what becomes of a stream.

    Attributes:
        texts: how many of its texts the client gets; None where not even the head goes out.
        lasting: as `planting.hit` has it.
    """

    place: str
    call: int
    texts: int | None
    end: End = End.TOLD
    last: Last = Last.DEFECT
    lasting: str = ""

    @property
    def name(self) -> str:
        """As a test has it."""
        return f"{self.place} {self.call}{self.lasting}"

    def request_id(self) -> str:
        """The id of a request that hits it."""
        return planting.hit(self.place, self.call, self.lasting)

    def always(self, end: End = End.TOLD) -> "Bug":
        """The same in all calls that follow: what is done about it fails too."""
        return self._replace(end=end, lasting=planting.FROM_THEN_ON, last=Last.UNSENT)


EARLY: Final = (
    Bug("step", 1, None),
    Bug("step", 1, None).always(),
    Bug("record", 1, None),
    Bug("collect", 1, None),
    Bug("collect", 1, None).always(),
)
"""Bugs that a stream meets before its worker has begun to answer."""

STREAMED: Final = (
    Bug("passing", 2, 1),
    Bug("text record", 1, 1),
    Bug("text rendering", 1, 1),
    Bug("rendering", 1, None),
    Bug("rendering", 3, 0),
    Bug("summary", 1, 2, End.WHOLE, Last.WRITTEN),
    Bug("figures", 1, 2, End.WHOLE, Last.WRITTEN),
    Bug("last record", 1, 2, End.WHOLE, Last.WRITTEN),
)
"""Bugs that every stream may meet, however its answer is divided into wake-ups."""

SENT: Final = (
    Bug("head", 1, None, last=Last.UNSENT),
    Bug("write", 2, 1, End.CUT, Last.UNSENT),
    Bug("finish", 1, 2, End.CUT, Last.WRITTEN),
    Bug("rendering", 4, 2).always(End.CUT),
)
"""Bugs on the way to a client: how far an answer got depends on the wake-ups that it came in."""

FINISHED_LAST: Final = Bug("rendering", 4, 2, End.CUT, Last.UNSENT)
"""A bug in the finish of a worker whose turn is over with it: nothing can be told any more."""

FINISHED_EARLIER: Final = Bug("rendering", 4, 2)
"""The same where the turn's end is still waited for: the stream goes on to an error."""

BODIES: Final = (
    Bug("rendering", 4, None, last=Last.UNSENT),
    Bug("whole answer", 1, None, last=Last.WRITTEN),
    Bug("summary", 1, 2, End.WHOLE, Last.WRITTEN),
)
"""Bugs that an answer may meet that is not streamed."""


PROMPTLY: Final = {"engine.containment.RESTART_PAUSE_S": 0.05}
"""Constants of a server that begins a task again at once."""


def named(bugs: tuple[Bug, ...]) -> pytest.MarkDecorator:
    """A test of each of them."""
    return pytest.mark.parametrize("bug", bugs, ids=[bug.name for bug in bugs])


def check_stream(bug: Bug, answer: scene.Answer) -> None:
    """What the client of a stream gets that hits a bug."""
    if bug.texts is None:
        check_refused(answer)
        return
    ends = {End.TOLD: ERROR, End.CUT: b"", End.WHOLE: expected.ENDED}
    assert (answer.status, answer.whole) == (200, bug.end is not End.CUT)
    assert answer.body == (expected.role() + expected.content(*TEXTS[: bug.texts]) + ends[bug.end])


def check_body(bug: Bug, answer: scene.Answer) -> None:
    """What the client of any other answer gets that hits a bug."""
    if bug.texts is None:
        check_refused(answer)
        return
    assert (answer.status, answer.whole) == (200, True)
    assert json.loads(answer.raw)["choices"][0]["message"]["content"] == "".join(TEXTS)


def check_refused(answer: scene.Answer) -> None:
    """What a client gets where nothing had gone to it."""
    assert (answer.status, answer.whole) == (500, True)
    assert {"error": answer.error} == expected.error_object("internal_error", MESSAGE)


def check_end(stage: scene.Stage, bug: Bug, answer: scene.Answer) -> None:
    """What is told of an answer: one last record, and one line that names its request."""
    stage.released()
    match bug.last:
        case Last.DEFECT:
            stage.recorded("defect", "internal_error", answer)
        case Last.UNSENT:
            stage.ended("defect", "internal_error", answer)
        case Last.WRITTEN:
            stage.ended("completed", None, answer)
    lines = stage.broke(answer)
    assert len(lines) == 1 or bug.last is Last.UNSENT


PRUNING: Final[dict[str, Any]] = {
    observed.PLANTED: json.dumps(
        {
            "engine.log.event_log.EventLog.prune": [1, 3],
            "engine.store.sqlite.SqliteStore.prune": [2, 3],
        }
    ),
    "constants": {"server.serve.PRUNE_S": 0.05, **PROMPTLY},
}
"""Options of a server whose log and store cannot be pruned at times, and are tried often."""


def check_pruning(stage: scene.Stage) -> None:
    """Each is begun again after each failure: the next is another round's."""
    lines = stage.defects(4)
    assert Counter(line["task"] for line in lines) == {"prune_log": 2, "prune_store": 2}
    assert {line["boundary"] for line in lines} == {"task"}
    assert stage.server.defects() == {"task": 4}
