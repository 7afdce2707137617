"""Makes the plan of a seed: the weather, and steps with everything about them that is random.

Each step draws from a generator of its own, so that leaving a step out changes no other: that is
what makes a failing plan shrink.
"""

import random
from typing import Final, Literal

import msgspec

from bench import appframes
from tests.simulator import drawconversations, drawinnocents, drawupstream, plan, points, scripts

STEPS_MOST: Final = 8
"""Steps of a run: many small runs find more than a few large ones."""


ANY: Final = "any"
"""In place of a world: the seed decides."""


def plan_of(seed: int, world: str = ANY) -> plan.Plan:
    """The plan of a seed.

    Args:
        world: one of `plan.WORLDS`, or `ANY`.
    """
    if world == ANY:
        world = random.Random(f"{seed}/world").choice(plan.WORLDS)
    rng = random.Random(f"{seed}")
    mood = rng.choice(("calm", "clients", "clients", "worker", "everything"))
    weather = _calm(_weather(rng)) if mood == "calm" else _weather(rng)
    count = rng.randint(1, STEPS_MOST)
    steps: list[plan.Step] = []
    for number in range(count):
        steps.append(_step(random.Random(f"{seed}/{number}"), number, mood, steps))
    drawn = plan.Plan(world, seed, weather, tuple(enumerate(steps)))
    if world == "upstream":
        drawn = drawupstream.converted(drawn, mood == "calm")
    rng = random.Random(f"{seed}/defect")
    planted = _defect(rng, drawn)
    steps_of = drawn.steps
    for _, defect in planted:
        steps_of = tuple(
            (number, _kept(rng, step, drawn) if number == defect.victim else step)
            for number, step in steps_of
        )
    talks = drawconversations.drawn(drawn) if world == "codex" else ()
    return msgspec.structs.replace(
        drawn, steps=(*steps_of, *talks, *planted), innocents=drawinnocents.drawn(drawn)
    )


DEFECTIVE: Final = 0.6
"""How many of the runs have a bug of the server's own in them."""


def _kept(rng: random.Random, step: plan.Step, of: plan.Plan) -> plan.Step:
    """The visit of a victim, which may be one of the other endpoint, and wants to be kept."""
    if not isinstance(step, plan.Visit) or step.leaves or step.reading.room is not None:
        return step
    first = step.asks[0]
    plain = first.n == 1 and not (first.stop or first.legacy or first.required or first.max_tokens)
    if len(step.asks) > 1 or first.tools or first.follows or not plain:
        return step
    keeps = of.weather.config["store"] != "off"
    asked = msgspec.structs.replace(first, api="responses", keeps=keeps, cuts=())
    return msgspec.structs.replace(step, asks=(asked,))


def _defect(rng: random.Random, of: plan.Plan) -> tuple[tuple[int, plan.Defect], ...]:
    """A bug in one of the visits of a plan, or none."""
    if rng.random() >= DEFECTIVE:
        return ()
    victims = [number for number, step in of.steps if isinstance(step, plan.Visit)]
    names = [rng.choice(points.of_world(of.world))]
    if rng.random() < 0.25:
        names.append(rng.choice(points.SECOND))
    defect = plan.Defect(
        at=0.0,
        victim=rng.choice(victims),
        points=tuple(names),
        call=rng.choice((1, 1, 1, 2, 3, 5)),
        lasting=rng.random() < 0.5,
        after=rng.random() < 0.3,
        error=rng.choice(("plain", "plain", "key", "recursion")),
        speechless=rng.random() < 0.1,
    )
    store = random.Random(f"{of.seed}/store")
    if of.weather.config["store"] != "off" and store.random() < 0.3:
        name = store.choice(("store.put", "store.before_last"))
        defect = msgspec.structs.replace(defect, points=(name, *names[1:]), call=1)
    return ((plan.DEFECT, defect),)


def _weather(rng: random.Random) -> plan.Weather:
    config = {
        "event_log": rng.choice(("full", "full", "full", "masked", "off")),
        "log_fsync": rng.choice(("none", "none", "interval", "always")),
        "log_segment_bytes": rng.choice((64 << 20, 64 << 20, 20_000, 3_000)),
        "log_on_error": rng.choice(("continue", "refuse")),
        "worker_count": rng.choice((1, 1, 2)),
        "worker_max_concurrency": rng.choice((1, 2, 64, 64, 64, 64)),
        "worker_request_timeout_ms": 2_000,
        "worker_exit": rng.choice(("error", "length")),
        "sse_max_concurrency": rng.choice((0, 0, 0, 0, 0, 2)),
        "sse_keepalive_ms": rng.choice((0, 500, 1_000)),
        "head_hold_ms": rng.choice((0, 300, 2_000)),
        "first_chunk_timeout_ms": 8_000,
        "stream_idle_timeout_ms": rng.choice((3_000, 5_500)),
        "timeout_ms": rng.choice((0, 0, 0, 6_000)),
        "nonstream_truncate_after_ms": rng.choice((0, 0, 0, 1_000)),
        "drain_timeout_ms": 3_000,
        "park_max": rng.choice((0, 1, 8, 8)),
        "park_ttl_ms": 4_000,
        "output_mode": rng.choice(("auto", "auto", "auto", "auto", "obsidian-xml")),
        "stop_after_tools": rng.random() < 0.15,
        "stop_after_tools_mode": rng.choice(("first", "burst")),
        "store": rng.choice(("off", "off", "off", "sqlite")),
    }
    crash_at = rng.randint(1, 12) if rng.random() < 0.15 else None
    delay = rng.choice((0.0, 0.01, 0.3))
    if config["log_fsync"] == "always" and delay > 0.01:
        # Each segment brings further chores, and what is to be sent waits for all of them.
        config["log_segment_bytes"] = 64 << 20
    return plan.Weather(
        config=config,
        chore_delay=delay,
        latency=rng.choice((0.0, 0.01, 0.3)),
        cuts=rng.random() < 0.6,
        crash_at=crash_at,
        slice_steps=rng.choice((1_000_000, 40, 4)),
        tick=rng.choice((0.0, 0.01, 0.1)),
        sheltered=rng.random() < 0.7,
    )


def _calm(weather: plan.Weather) -> plan.Weather:
    """The same without anything by which the server may refuse or cut an answer."""
    config = weather.config | {
        "worker_max_concurrency": 64,
        "sse_max_concurrency": 0,
        "timeout_ms": 0,
        "nonstream_truncate_after_ms": 0,
    }
    return msgspec.structs.replace(weather, config=config)


_MOODS: Final[dict[str, tuple[str, ...]]] = {
    "calm": ("visit",),
    "clients": ("visit", "visit", "rude", "rude", "rude", "noise", "drain"),
    "worker": ("visit", "visit", "visit", "death", "deafness", "rpc_fault", "rpc_fault", "babble"),
    "everything": (
        *("visit", "visit", "rude", "noise", "death", "deafness", "rpc_fault", "babble"),
        *("disk", "disk", "drain", "drain"),
    ),
}
"""What may happen, by how the day goes."""


def _step(rng: random.Random, number: int, mood: str, earlier: list[plan.Step]) -> plan.Step:
    at = round(rng.uniform(plan.BUSY_S, 4) if mood == "calm" else rng.uniform(0.3, 4), 3)
    kind = "visit" if number == 0 else rng.choice(_MOODS[mood])
    match kind:
        case "visit" | "rude":
            return _visit(rng, number, at, earlier, mood == "calm", kind == "rude")
        case "noise":
            return plan.Noise(at, _noise(rng), rng.choice((0.1, 5.0)))
        case "death":
            return plan.Death(at, rng.randrange(2), rng.choice((0, 1, -9)), rng.choice((0, 0, 1)))
        case "deafness":
            return plan.Deafness(at, rng.randrange(2), rng.choice((0.5, 3.0, 20.0)))
        case "rpc_fault":
            method = rng.choice(_METHODS)
            kinds = _UNHEARD if method == "turn/interrupt" else _RPC_FAULTS
            return plan.RpcFault(at, method, rng.choice(kinds), rng.randint(1, 3))
        case "babble":
            return plan.Babble(
                at, rng.randrange(2), tuple(rng.choices(_LINES, k=rng.randint(1, 3)))
            )
        case "disk":
            return plan.DiskTrouble(
                at, rng.choice(("full", "short", "broken")), rng.choice((0.1, 1.5, 30.0))
            )
    return plan.Drain(at, rng.choice((None, 0.5)))


_METHODS: Final = (
    *("thread/start", "thread/start", "thread/inject_items", "turn/start", "turn/interrupt"),
    *("thread/unsubscribe", "initialize", "model/list"),
)

_RPC_FAULTS: Final[tuple[Literal["overloaded", "refused", "silent", "late", "nonsense"], ...]] = (
    *("overloaded", "refused", "silent", "late", "nonsense"),
)

_UNHEARD: Final[tuple[Literal["silent", "late"], ...]] = ("silent", "late")
"""For an interrupt: Codex refuses only those of turns that are over."""

_LINES: Final = (
    b"not json",
    appframes.TurnFrames("no such thread", 1).started().rstrip(),
    *appframes.TurnFrames("no such thread", 1).deltas(("lost",)),
    b'{"method":"item/agentMessage/delta","params":{"threadId":7}}',
    b'{"method":"what/isThis","params":null}',
    b'{"method":"configWarning","params":{"summary":"hm"}}',
    b'{"id":"x","method":"item/tool/requestApproval","params":{}}',
    b'{"id":"y","method":"item/tool/call","params":{"threadId":"no such thread"}}',
    b'{"id":999999,"result":{}}',
    b'{"id":null,"error":{"code":-32700,"message":"?"}}',
    b"\xff\xfe",
    b"[" * 2000,
    b"",
    b"{}",
)


def _noise(rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
            b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n" * 3,
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\nbad\r\n\r\n",
            b"\x16\x03\x01\x02\x00",
            b"GET /v1/models HTTP/1.1\r\nhost: loc",
            b"",
        )
    )


def _visit(
    rng: random.Random, number: int, at: float, earlier: list[plan.Step], calm: bool, rude: bool
) -> plan.Visit:
    talks = [index for index, step in enumerate(earlier) if isinstance(step, plan.Visit)]
    talks = [index for index in talks if _ask_of(earlier[index]).tools]
    if talks and rng.random() < 0.6:
        of = rng.choice(talks)
        first = _follow(rng, number, earlier, of, calm)
        at = round(earlier[of].at + rng.choice((1.0, 1.0, 2.0, 3.0, 7.0)), 3)
    else:
        first = _ask(rng, number, calm)
    asks: tuple[plan.Ask, ...] = (first,)
    if not rude:
        return plan.Visit(at=at, asks=asks)
    if rng.random() < 0.3:
        asks = (first, _ask(rng, number, calm))
    reading = rng.choice(_READINGS)
    if reading.room is not None and rng.random() < 0.5:
        asks = (msgspec.structs.replace(first, turns=(scripts.flood(f"{number}.0"),)),)
    leaves = None
    if rng.random() < (0.8 if reading.room is None else 0.3):
        leaves = rng.choice(_WAYS)
    return plan.Visit(
        at=at,
        asks=asks,
        reading=reading,
        pipelined=rng.random() < 0.5,
        leaves=leaves,
        after=round(rng.choice((0.0, 0.01, 0.1, 1.0, 4.0)) * rng.random(), 4),
        unsent=rng.choice((0, 0, 0, 1, 40, 10_000)),
    )


_WAYS: Final[tuple[Literal["close", "half_close", "reset"], ...]] = (
    *("close", "close", "half_close", "reset"),
)

_READINGS: Final = (
    *(plan.Reading(), plan.Reading(), plan.Reading(0), plan.Reading(1_000), plan.Reading(6_000)),
    *(plan.Reading(100, 200, 0.3), plan.Reading(0, 2_000, 1.5), plan.Reading(500, 20_000, 4.0)),
)


def _ask_of(step: plan.Step) -> plan.Ask:
    assert isinstance(step, plan.Visit)
    return step.asks[0]


def _ask(rng: random.Random, number: int, calm: bool) -> plan.Ask:
    tools = rng.choice((0, 0, 0, 1, 1, 3))
    required = tools > 0 and rng.random() < 0.2
    n = rng.choice((1, 1, 1, 1, 2, 3))
    legacy = tools > 0 and rng.random() < 0.15
    return plan.Ask(
        key=rng.choice(plan.KEYS),
        stream=rng.random() < 0.7,
        n=n,
        stop=tuple(rng.sample(scripts.STOPS, rng.randint(1, 3))) if rng.random() < 0.25 else (),
        max_tokens=rng.choice((1, 2, 5, 30)) if rng.random() < 0.15 else None,
        include_usage=rng.random() < 0.5,
        tools=tools,
        required=required,
        parallel=not legacy and (tools == 0 or rng.random() < 0.8),
        legacy=legacy,
        keepalive=rng.random() < 0.8,
        turns=_scripts(rng, number, tools, calm, n, again=not required),
        cuts=tuple(sorted(rng.randint(1, 600) for _ in range(rng.choice((0, 0, 1, 3))))),
        pause=rng.choice((0.0, 0.01, 0.4)),
    )


def _follow(
    rng: random.Random, number: int, earlier: list[plan.Step], of: int, calm: bool
) -> plan.Ask:
    """The request that brings results for an earlier one's calls, from whoever."""
    asked = _ask_of(earlier[of])
    return msgspec.structs.replace(
        asked,
        key=asked.key if rng.random() < 0.8 else rng.choice(plan.KEYS),
        n=1,
        stream=rng.random() < 0.7,
        stop=(),
        max_tokens=None,
        follows=of,
        results=rng.choice(("all", "all", "all", "some", "edited")),
        turns=_scripts(rng, number, asked.tools, calm, 1, again=not asked.required),
        cuts=(),
    )


def _scripts(
    rng: random.Random, number: int, tools: int, calm: bool, n: int, again: bool
) -> tuple[scripts.Script, ...]:
    """The turns of an ask; a thread that has several must not end one of them twice."""
    count = n + (0 if calm else rng.choice((0, 1, 2))) + (2 if tools else 0)
    drawn = [scripts.draw(rng, f"{number}.{index}", tools, calm) for index in range(count)]
    return tuple(msgspec.structs.replace(each, again=each.again and again) for each in drawn)
