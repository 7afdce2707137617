"""Who says what: hands out a plan's scripts to threads, and keeps what was seen of them."""

import random
import re
from typing import Any, Final

from tests.simulator import plan, scripts

MARK: Final = re.compile(r"#(\d+)@(\w+)")
"""Which ask a text is of, and whose that is."""

SPEECHLESS: Final = scripts.Script((), ending="silent")
"""What a thread without a history says."""

Json = dict[str, Any]


class Thread:
    """A thread of one process.

    Attributes:
        step: the ask that it is to answer.
        owner: whose that is.
        rng: what replies about it draw from, of a thread of an innocent's.
        running: whether its turn goes on, or waits for results.
        asked: the calls whose results are awaited, by the id of their request.
        seen: who said what on it, so far; of what is no message, its type.
        counted: prompt and completion tokens of all its turns.
        whole: whether every turn so far has ended as it should.
    """

    def __init__(self, thread_id: str, number: int, params: Json) -> None:
        self.id = thread_id
        self.number = number
        self.model: str = params["model"]
        self.tools = [tool["name"] for tool in params.get("dynamicTools") or ()]
        self.raw = bool(params.get("experimentalRawEvents"))
        self.step = -1
        self.owner = ""
        self.rng: random.Random | None = None
        self.turn_id = ""
        self.running = False
        self.subscribed = True
        self.asked: dict[str, scripts.Called] = {}
        self.seen: list[tuple[str, str]] = []
        self.counted = (0, 0)
        self.whole = True

    @property
    def is_innocent(self) -> bool:
        """Whether it is a thread of an innocent's."""
        return self.model in plan.MODELS


class Director:
    """Hands out the scripts of a plan, and keeps what was seen of its turns.

    Attributes:
        faults: what the next calls of a method meet.
        played: for each ask, the scripts that were begun.
        contexts: for each ask, what the threads had seen on which its turns were begun.
        begun: for each ask, when the first of them was.
        exposed: innocents by the number of their visit, and what hit all that they shared.
        wrong: rules that a worker can see broken.
    """

    def __init__(self, of: plan.Plan) -> None:
        self.faults: dict[str, list[str]] = {}
        self.played: dict[int, list[scripts.Script]] = {}
        self.contexts: dict[int, list[list[tuple[str, str]]]] = {}
        self.begun: dict[int, float] = {}
        self.exposed: dict[int, str] = {}
        self.wrong: list[str] = []
        self._asks = plan.asks(of)
        self._seed = of.seed

    def begin(self, thread: Thread) -> None:
        """Give a thread of an innocent's what is its own, so that nobody else changes it."""
        if thread.is_innocent:
            # The same for all its choices: which thread is whose is not known to a worker.
            thread.rng = random.Random(f"{self._seed}/{thread.model}")

    def expose(self, model: str, why: str) -> None:
        """Something hit a whole process that an innocent was on."""
        if model in plan.MODELS:
            self.exposed.setdefault(plan.INNOCENT + plan.MODELS.index(model), why)

    def next(self, thread: Thread, now: float) -> scripts.Script:
        """The script of the next turn of a thread."""
        ask = thread.step
        self.begun.setdefault(ask, now)
        if ask not in self._asks:  # its history was lost on the way
            return SPEECHLESS
        played = self.played.setdefault(ask, [])
        known = self._asks[ask].turns
        script = known[min(len(played), len(known) - 1)]
        played.append(script)
        self.contexts.setdefault(ask, []).append(list(thread.seen))
        return script

    def fault(self, method: str) -> str:
        """What a call of this method meets now."""
        waiting = self.faults.get(method)
        return waiting.pop() if waiting else ""

    def check_owner(self, thread: Thread, text: str) -> None:
        """What one client brought, or was told in secret, must not reach another's thread."""
        for number, key in MARK.findall(text):
            if key != thread.owner:
                self.wrong.append(f"{key}'s #{number} came to a thread of {thread.owner}")

    def check_turn(self, thread: Thread) -> None:
        """A thread takes one turn after the other, and none behind one that did not end well."""
        if thread.running:
            self.wrong.append(f"#{thread.step}@{thread.owner} begins on a thread that is busy")
        if not thread.whole:
            self.wrong.append(f"#{thread.step}@{thread.owner} begins behind a turn that broke off")

    def give(self, thread: Thread, step: int, owner: str) -> None:
        """A thread is to answer an ask now, which is of the key that all on it were of."""
        if thread.owner not in ("", owner):
            self.wrong.append(f"a thread of {thread.owner} goes on for #{step}@{owner}")
        thread.step, thread.owner = step, owner
