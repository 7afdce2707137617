"""Judges what becomes of a stream that a planted exception hit, and what is said of it.

It ends, its client cannot take it for whole, and its one last record says that it is a bug of the
server's own: the worker is not to blame, and nobody who reads the log will think so. One line of
the diagnostics says where it happened, with the ids of what was hit and of nothing else.
"""

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final

from machines import events
from tests.simulator import answers, plan
from tests.simulator.points import Effect

if TYPE_CHECKING:
    from tests.simulator import world

Broken = answers.Broken

HURTS: Final = frozenset({Effect.DEFECT, Effect.EITHER, Effect.CUT, Effect.GONE, Effect.REFUSED})
"""Effects by which a client gets something else."""

NAMELESS: Final = frozenset({Effect.GONE, Effect.SHARED, Effect.NONE})
"""Effects of what is hit where nobody knows yet, or any more, whose it is."""

BLURS: Final = HURTS | {Effect.UNCOUNTED, Effect.UNLOGGED}
"""Effects by which the last record says something else."""

CODE: Final = "internal_error"
"""What a client is told."""


def is_hurt(of: "world.World", request_id: str) -> bool:
    """Whether a client may have got something else than its worker said."""
    return bool(_effects(of, request_id) & HURTS)


def is_blurred(of: "world.World", request_id: str) -> bool:
    """Whether the log may tell something else of a stream than what its client got."""
    return bool(_effects(of, request_id) & BLURS)


def _effects(of: "world.World", request_id: str) -> set[Effect]:
    """What may have become of a stream, and has."""
    effects = of.planter.hit(request_id)
    if Effect.DEFECT in effects and _goes_on(of, request_id):
        effects = effects - {Effect.DEFECT} | {Effect.EITHER}
    end = of.ends.get(request_id)
    if end is not None and Effect.EITHER in effects:
        effects.discard(Effect.EITHER)
        if end.kind == "defect":
            effects.add(Effect.DEFECT)
    return effects


def _goes_on(of: "world.World", request_id: str) -> bool:
    """Whether a turn may be hit that is over, while its stream waits for another choice's."""
    ask = plan.asks(of.plan)[int(request_id.removeprefix("sim-"))]
    is_cut = ask.max_tokens is not None or bool(ask.stop)
    return ask.n > 1 and (is_cut or any(script.again or script.calls for script in ask.turns))


def check_answer(of: "world.World", request_id: str, heard: answers.Heard, whole: bool) -> None:
    """A client that was hurt sees so."""
    effects = _effects(of, request_id)
    if heard.error not in (None, CODE) and whole and Effect.GONE not in effects:
        end = of.ends.get(request_id)
        unknown = "" if of.plan.contended else "defect"  # there may have been no place for it
        kind = unknown if end is None and Effect.DEFECT in effects else end and end.kind
        if kind == "defect":
            raise Broken(f"{request_id} was told {heard.error} of a bug of the server's own")
    ends = Effect.DEFECT in effects and Effect.CUT not in effects
    if ends and whole and heard.done:
        raise Broken(f"{request_id} was hit ({effects}), and told that it is whole")


def check_end(of: "world.World", request_id: str, end: events.Terminal | None) -> None:
    """The last record of a stream that was hit says so."""
    effects = _effects(of, request_id)
    if end is None:
        opened = of.planter.ids.knows(request_id)
        if opened and not effects & {Effect.UNLOGGED, Effect.REFUSED, Effect.GONE}:
            raise Broken(f"{request_id} was hit ({effects}), and has no end")
        return
    if end.kind == "defect" and end.code != CODE:
        raise Broken(f"{request_id} ended as a defect with the code {end.code}")
    if effects == {Effect.DEFECT} and end.kind != "defect" and not _left(of, request_id, end):
        raise Broken(f"{request_id} was hit, and ended as {end.kind} ({end.code})")


def _left(of: "world.World", request_id: str, end: events.Terminal) -> bool:
    """Whether a stream that was hit had another reason to end in the same moment."""
    hit = next(each.at for each in of.planter.firings if each.request_id == request_id)
    visitor = of.visitors[int(request_id.removeprefix("sim-")) // 10]
    if end.kind == "client_gone":
        return visitor.left and abs(visitor.left_at - hit) < 0.01
    ask = visitor.requests[int(request_id[-1])].ask
    if end.kind == "upstream_error" and any(script.again for script in ask.turns):
        return True  # its turn had failed, and a late line of it was hit
    if ask.n > 1:  # another choice of it has failed
        return end.kind not in ("completed", "truncated")
    return end.kind == "shutdown" and of.plan.of(plan.Drain)


def check_lines(of: "world.World", lines: list[MutableMapping[str, Any]]) -> None:
    """One line at least speaks of what was hit, and none of anybody else."""
    defect = of.plan.defect
    said = [line for line in lines if line["event"] in ("defect", *ELSEWHERE)]
    if defect is None or not of.planter.firings:
        if said:
            raise Broken(f"a defect that nobody planted: {said[0]}")
        return
    for line in said:
        if defect.points[0].startswith(LINES) and line.get("boundary") == "process":
            raise Broken(f"one line cost its process: {line}")
        named = line.get("req_id") or ""
        foreign = named.startswith("sim-") and named not in defect.request_ids
        if foreign and not _is_of_all(of, line):
            raise Broken(f"a line speaks of somebody else: {line}")
    for firing in of.planter.firings:
        request_id = "" if firing.effect in NAMELESS else firing.request_id
        is_over = Effect.DEFECT not in _effects(of, request_id)
        if firing.effect is Effect.EITHER and is_over:
            continue  # it hit a turn that was over
        if firing.effect is Effect.DEFECT and is_over:
            request_id = ""  # so it did: nobody knows any more whose it was
        if not (defect.speechless or any(_names(line, request_id) for line in said)):
            raise Broken(f"no line speaks of {request_id or 'what was hit'}: {said}")


def _is_of_all(of: "world.World", line: MutableMapping[str, Any]) -> bool:
    """Whether a line names a refusal that wrote, with its own record, what others had waiting."""
    shared = any(firing.effect in NAMELESS for firing in of.planter.firings)
    return shared and line.get("boundary") == "access"


def _names(line: MutableMapping[str, Any], request_id: str) -> bool:
    """Whether a line is about a request; one that had no id yet was given one."""
    named = line.get("req_id")
    return not request_id or named == request_id or (named or "").startswith("req_")


LINES: Final = ("line.", "reader.", "server.not_of_a_turn")
"""Points that a worker's line passes: whatever comes of it there, its process lives on."""

ELSEWHERE: Final = ("response_not_kept",)
"""Lines in which a bug is told of outside of any stream."""
