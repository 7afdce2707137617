"""What happens in a run, as data: its weather, and its steps."""

from typing import Any, Final, Literal

import msgspec

from tests.simulator import disk, replies, scripts

KEYS: Final = ("alice", "bob")
"""Clients by the key they bring."""

WORLDS: Final = ("codex", "upstream")
"""What stands behind the server."""

BUSY_S: Final = 1.6
"""When every process is ready, if nothing hinders it."""

INNOCENT: Final = 100
"""The first number of those steps that are innocent visits: no other step has so many."""

MODEL: Final = "gpt-5.5"
"""What clients ask for; innocent ones have names of their own, see `model_of`."""

FUNCTIONS: Final = ("add", "exec_command", "get weather")
"""Of which Codex knows the second and third by other names."""


class Weather(msgspec.Struct, frozen=True):
    """How the server of a run is set up.

    Attributes:
        config: fields of `server.config.settings.Config`.
        chore_delay: seconds that each chore of the log's helper takes.
        latency: seconds that a reply of the worker takes at most.
        cuts: whether the worker's output comes in arbitrary pieces.
        tick: seconds between two reads of what a worker or an upstream writes: what comes in
            between is read together. 0: everything is read as it comes.
        slice_steps: how much of a long piece of work is done in one go.
        sheltered: whether what hits a whole process spares those that innocents are on.
        crash_at: the write to a client after which the disk is seen as a kill would leave it.
        host: where the upstream is: an address, or a name.
        idle_close: seconds after which the upstream closes a connection that is not used.
        idle_end: whether it says so then, or only when something comes on it.
        listings: statuses of its first listings of models; None for one that is never answered.
    """

    config: dict[str, Any]
    chore_delay: float
    latency: float
    cuts: bool
    crash_at: int | None
    tick: float = 0.0
    slice_steps: int = 1_000_000
    sheltered: bool = True
    host: str = "10.0.0.7"
    idle_close: float | None = None
    idle_end: Literal["at_once", "when_asked"] = "at_once"
    listings: tuple[int | None, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether scripts say all that can come of an answer's text and calls."""
        config = self.config
        return config["output_mode"] != "obsidian-xml" and not config["stop_after_tools"]

    @property
    def in_bursts(self) -> bool:
        """Whether it is a matter of time which calls an answer ends behind."""
        config = self.config
        return bool(config["stop_after_tools"]) and config["stop_after_tools_mode"] == "burst"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request, and what it leads to.

    Attributes:
        follows: the step whose calls this one brings results for, or whose answer it goes on from.
        goes_on: whether it is a further question behind that answer; in `edited`, the one before
            it is another than was asked.
        effort: of the reasoning; of chat alone.
        turns: what Codex says, in the order that turns begin; then the last again.
        answered: what an upstream answers, in the order of requests; then the last again.
        results: how: all of them, some, or all of them behind an edited history.
        api: the endpoint that is asked; `stop`, `n` and `legacy` are of chat alone.
        keeps: whether the answer is to be kept in the store of responses.
        cuts: where the request is cut, in bytes from its start; `pause` is made at each.
    """

    key: str = "alice"
    model: str = MODEL
    api: Literal["chat", "responses"] = "chat"
    keeps: bool = False
    stream: bool = True
    n: int = 1
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    include_usage: bool = False
    tools: int = 0
    required: bool = False
    parallel: bool = True
    legacy: bool = False
    keepalive: bool = True
    follows: int | None = None
    results: Literal["all", "some", "edited"] = "all"
    goes_on: Literal["no", "whole", "edited"] = "no"
    effort: str | None = None
    turns: tuple[scripts.Script, ...] = ()
    answered: tuple[replies.Reply, ...] = ()
    cuts: tuple[int, ...] = ()
    pause: float = 0.0


FAST: Final = 2_000_000
"""More bytes than there are to be read."""


class Reading(msgspec.Struct, frozen=True):
    """How a client reads: `room` bytes at once, so many more every `every` seconds, if any."""

    room: int | None = None
    more: int = 0
    every: float = 0.0


class Visit(msgspec.Struct, frozen=True, kw_only=True, tag="visit"):
    """A client's connection.

    Attributes:
        pipelined: whether requests are sent without waiting for answers.
        leaves: how it leaves before it has its answers, and after how many seconds.
        unsent: bytes at the end of the last request that it never sends.
    """

    at: float
    asks: tuple[Ask, ...]
    reading: Reading = Reading()
    pipelined: bool = False
    leaves: Literal["close", "half_close", "reset"] | None = None
    after: float = 0.0
    unsent: int = 0


class Noise(msgspec.Struct, frozen=True, tag="noise"):
    """A client that sends these bytes, and leaves after a while."""

    at: float
    data: bytes
    after: float


class Death(msgspec.Struct, frozen=True, tag="death"):
    """A worker process ends; as many starts after it fail."""

    at: float
    process: int
    returncode: int
    failed_starts: int


class Deafness(msgspec.Struct, frozen=True, tag="deafness"):
    """A worker process stands still for a while, and then goes on."""

    at: float
    process: int
    lasts: float


class RpcFault(msgspec.Struct, frozen=True, tag="rpc_fault"):
    """The next calls of a method are refused, left unanswered, or answered late."""

    at: float
    method: str
    kind: Literal["overloaded", "refused", "silent", "late", "nonsense"]
    count: int


class Babble(msgspec.Struct, frozen=True, tag="babble"):
    """A worker process writes lines that nobody waits for."""

    at: float
    process: int
    lines: tuple[bytes, ...]


class Outage(msgspec.Struct, frozen=True, tag="outage"):
    """The upstream cannot be reached for a while, or stands still."""

    at: float
    kind: Literal["refused", "name", "black_hole", "deaf"]
    lasts: float


class HangUp(msgspec.Struct, frozen=True, tag="hang_up"):
    """The upstream breaks its connections off: those that are idle, or the busy ones as well."""

    at: float
    how: Literal["close", "reset"]
    busy: bool


class DiskTrouble(msgspec.Struct, frozen=True, tag="disk_trouble"):
    """The log's disk has a fault for a while."""

    at: float
    fault: disk.DiskFault
    lasts: float


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """The server is asked to stop, once or twice."""

    at: float
    again: float | None


class Defect(msgspec.Struct, frozen=True, kw_only=True, tag="defect"):
    """A bug of the server's own, which raises in what one client's visit passes.

    Attributes:
        victim: the number of the visit.
        points: where it raises, see `points.POINTS`; the second only once the first has.
        call: of those that are about the victim, counted from 1, the first at which it does.
        lasting: whether it does so from then on.
        after: whether it does after what is done there, where that can be.
        error: what is raised, see `defects.ERRORS`.
        speechless: whether diagnostics fail as well.
    """

    at: float
    victim: int
    points: tuple[str, ...]
    call: int
    lasting: bool
    after: bool
    error: str
    speechless: bool

    @property
    def is_of_a_request(self) -> bool:
        """Whether it is met by requests alone, and not by what all of them share."""
        return not self.points[0].startswith(("server.", "process.", "upstream.watch", "log."))

    @property
    def request_ids(self) -> tuple[str, ...]:
        """The requests of the victim."""
        return tuple(f"sim-{10 * self.victim + index}" for index in range(2))


DEFECT: Final = INNOCENT - 1
"""The number of a plan's defect among its steps."""

WorkerStep = Death | Deafness | RpcFault | Babble | Outage | HangUp
"""What happens behind the server."""

Step = Visit | Noise | WorkerStep | DiskTrouble | Drain | Defect
"""Everything that a run may hold."""


Numbered = tuple[tuple[int, Step], ...]
"""Steps by their numbers."""


class Plan(msgspec.Struct, frozen=True):
    """A run; `steps` have their numbers, which stay theirs when others are left out.

    Attributes:
        innocents: visits of clients whose workers do as they should, and that nothing aims at.
            What they get must be what they get alone.
    """

    world: str
    seed: int
    weather: Weather
    steps: Numbered
    innocents: tuple[tuple[int, Visit], ...] = ()

    def only(self, numbers: set[int]) -> "Plan":
        """The same run without the other steps, and without the other innocents."""
        return msgspec.structs.replace(
            self,
            steps=tuple(step for step in self.steps if step[0] in numbers),
            innocents=tuple(visit for visit in self.innocents if visit[0] in numbers),
        )

    def alone(self) -> "Plan":
        """The same innocents without their neighbours."""
        return msgspec.structs.replace(self, steps=())

    @property
    def everything(self) -> Numbered:
        """The steps and the innocents."""
        return (*self.steps, *self.innocents)

    @property
    def contended(self) -> bool:
        """Whether there may be more work than places for it: then somebody is turned away."""
        config = self.weather.config
        return config["worker_max_concurrency"] <= 2 or bool(config["sse_max_concurrency"])

    @property
    def defect(self) -> Defect | None:
        """The bug that is planted, if one is."""
        return next((step for _, step in self.steps if isinstance(step, Defect)), None)

    @property
    def planted(self) -> tuple[str, ...]:
        """Where it is."""
        return self.defect.points if self.defect is not None else ()

    def of(self, *kinds: type) -> bool:
        """Whether there is a step of such a kind."""
        return any(isinstance(step, kinds) for _, step in self.steps)


def is_innocent(ask: int) -> bool:
    """Whether a request is one of an innocent's."""
    return ask // 10 >= INNOCENT


def model_of(number: int) -> str:
    """What the client of an innocent visit asks for: its requests are told from all others."""
    return f"calm-{number}"


MODELS: Final = tuple(model_of(INNOCENT + number) for number in range(4))
"""The models of innocents."""


def asks(of: Plan) -> dict[int, Ask]:
    """The requests of a plan by their numbers: that of the step, and a digit for which of it."""
    return {
        10 * number + index: ask
        for number, step in of.everything
        if isinstance(step, Visit)
        for index, ask in enumerate(step.asks)
    }
