"""Where turns wait for results: for how long, for how many, and for whom."""

import asyncio
from typing import Any

import msgspec
import pytest
import structlog

from engine import worker
from engine.codex.turns import modelstep, parking
from machines.turn import thread as threads
from tests.support.machines import virtualtime

ITEMS = (msgspec.Raw(b'{"type":"reasoning"}'), msgspec.Raw(b'{"type":"function_call"}'))

ASKED = worker.Turn(
    stream_id="st",
    request_id="req",
    target="m",
    key_id="alice",
    tools=(worker.Tool("add", "", msgspec.Raw(b"{}")),),
    messages=(worker.Message("user", (worker.TextPart("add"),)),),
)


class Waiting:
    """An attempt that waits."""

    def __init__(self, free: bool = True) -> None:
        self.waiting = True
        self.state = "new"
        self._free = free

    def park(self) -> None:
        self.state = "parked"

    def let_go(self, _: threads.Event) -> None:
        self.state = "let go"

    def reseat(self) -> bool:
        return self._free


def failing(*_: Any) -> Any:
    raise RuntimeError("planted")


def step(*ids: str, text: str = "") -> modelstep.ModelStep:
    """A step with these calls."""
    calls = tuple(worker.Call(call_id, "add", '{"a": 1, "b": [2]}') for call_id in ids)
    return modelstep.ModelStep(ITEMS, calls, text, True)


def brought(*ids: str, text: str = "", arguments: str = '{"b":[2],"a":1}') -> worker.Turn:
    """The request with the results of these calls."""
    parts = (worker.TextPart(text),) if text else ()
    calls = tuple(worker.Call(call_id, "add", arguments) for call_id in ids)
    results = (worker.Message("tool", (worker.TextPart("3"),), call_id=each) for each in ids)
    said = worker.Message("assistant", parts, calls=calls)
    return msgspec.structs.replace(ASKED, messages=(*ASKED.messages, said, *results))


def park(lot: parking.Parking, *ids: str, text: str = "", free: bool = True) -> Any:
    """Have a turn wait."""
    waiting: Any = Waiting(free)
    lot.park(waiting, ASKED, step(*ids, text=text))
    return waiting


def missed(lot: parking.Parking, turn: worker.Turn) -> str:
    """Why no turn takes these results."""
    with pytest.raises(parking.Missed) as found:
        lot.take(turn)
    return str(found.value)


def run(scene: Any) -> None:
    """Run a scene in virtual time."""

    async def within() -> None:
        await scene(parking.Parking(2, 10))

    virtualtime.run(within())


def test_a_turn_takes_its_results_once() -> None:
    async def scene(lot: parking.Parking) -> None:
        waiting = park(lot, "c1", "c2", text="Wait. ")
        assert waiting.state == "parked"
        turn = brought("c1", "c2", text=" Wait.")
        await asyncio.sleep(3)
        assert lot.take(turn) == (waiting, turn.messages[2:], 3_000_000)
        assert missed(lot, turn) == "not_parked"
        assert lot.missed == {"not_parked": 1}
        await asyncio.sleep(20)
        assert waiting.state == "parked"
        assert lot.counts == parking.ParkingCounts(parked=1, resumed=1, missed=1)

    run(scene)


def test_thoughts_make_no_other_conversation() -> None:
    """A client may send them again or leave them out: the turn still has them."""

    async def scene(lot: parking.Parking) -> None:
        waiting = park(lot, "c1")
        turn = brought("c1")
        asked, said, result = turn.messages
        said = msgspec.structs.replace(said, reasoning=ITEMS[:1])
        turn = msgspec.structs.replace(turn, messages=(asked, said, result))
        assert lot.recall("alice")((said,)) == ITEMS
        assert lot.take(turn) == (waiting, (result,), 0)

    run(scene)


def test_a_conversation_without_results_is_none_of_its_business() -> None:
    async def scene(lot: parking.Parking) -> None:
        park(lot, "c1")
        assert lot.take(ASKED) is None
        talked = (*brought("c1").messages, worker.Message("user", (worker.TextPart("so?"),)))
        assert lot.take(msgspec.structs.replace(ASKED, messages=talked)) is None
        only = msgspec.structs.replace(ASKED, messages=brought("c1").messages[2:])
        assert lot.take(only) is None

    run(scene)


CHANGES: dict[str, worker.Turn] = {
    "not_parked": msgspec.structs.replace(brought("c1"), key_id="bob"),
    "partly_answered": msgspec.structs.replace(
        brought("c1"), messages=(*brought("c1").messages, brought("c9").messages[-1])
    ),
    "options_changed": msgspec.structs.replace(brought("c1"), effort="high"),
    "options_changed of the summary": msgspec.structs.replace(
        brought("c1"), reasoning_summary="auto"
    ),
    "history_edited": msgspec.structs.replace(
        brought("c1"), messages=(ASKED.messages[0], *brought("c1").messages)
    ),
}


@pytest.mark.parametrize("role", ["user", "system"])
@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", None])
def test_what_stands_before_the_answer_is_no_part_of_it(
    role: worker.Role, url: str | None
) -> None:
    """Nothing of it would reach the model: the turn that waits has not seen it."""

    async def scene(lot: parking.Parking) -> None:
        park(lot, "c1")
        turn = brought("c1")
        asked, *rest = turn.messages
        part = worker.TextPart("") if url is None else worker.ImagePart(url, "p")
        more = worker.Message(role, (part,))
        inserted = msgspec.structs.replace(turn, messages=(asked, more, *rest))
        assert missed(lot, inserted) == "history_edited"

    run(scene)


@pytest.mark.parametrize("reason", CHANGES)
def test_another_conversation_is_not_taken_and_the_turn_waits_on(reason: str) -> None:
    async def scene(lot: parking.Parking) -> None:
        waiting = park(lot, "c1")
        assert missed(lot, CHANGES[reason]) == reason.split()[0]
        assert lot.take(brought("c1")) is not None
        assert waiting.state == "parked"

    run(scene)


@pytest.mark.parametrize(
    "turn", [brought("c1", arguments='{"a":2}'), brought("c1", text="More."), brought("c1", "c2")]
)
def test_what_the_client_was_not_told_is_an_edit(turn: worker.Turn) -> None:
    async def scene(lot: parking.Parking) -> None:
        park(lot, "c1")
        assert missed(lot, turn) in ("history_edited", "partly_answered")
        assert lot.recall("alice")((turn.messages[1],)) is None

    run(scene)


def test_a_turn_waits_its_time_and_its_step_is_kept_as_long() -> None:
    async def scene(lot: parking.Parking) -> None:
        waiting = park(lot, "c1")
        said = brought("c1").messages[1]
        await asyncio.sleep(9.9)
        assert waiting.state == "parked"
        assert lot.recall("alice")((said,)) == ITEMS
        assert lot.recall("bob")((said,)) is None
        await asyncio.sleep(0.2)
        assert waiting.state == "let go"
        assert lot.recall("alice")((said,)) is None
        assert lot.counts.expired == 1

    run(scene)


def test_the_oldest_makes_room_and_its_step_is_still_kept() -> None:
    async def scene(lot: parking.Parking) -> None:
        turns = [park(lot, f"c{index}") for index in range(3)]
        assert [waiting.state for waiting in turns] == ["let go", "parked", "parked"]
        assert missed(lot, brought("c0")) == "not_parked"
        assert lot.recall("alice")((brought("c0").messages[1],)) == ITEMS
        assert lot.counts.evicted == 1

    run(scene)


def test_kept_steps_are_bounded() -> None:
    async def scene(lot: parking.Parking) -> None:
        most = 2 * parking.STEPS_A_TURN
        for index in range(most + 1):
            park(lot, f"c{index}")
        assert lot.recall("alice")((brought("c0").messages[1],)) is None
        assert lot.recall("alice")((brought("c1").messages[1],)) == ITEMS

    run(scene)


def test_a_call_id_that_is_used_again_belongs_to_the_last_turn() -> None:
    async def scene(lot: parking.Parking) -> None:
        first, second = park(lot, "c1"), park(lot, "c1")
        assert first.state == "let go"
        taken = lot.take(brought("c1"))
        assert taken is not None
        assert taken[0] is second
        assert lot.counts.evicted == 0

    run(scene)


def test_a_process_that_died_or_has_no_place_sends_the_history_anew() -> None:
    async def scene(lot: parking.Parking) -> None:
        lost = park(lot, "c1")
        lost.waiting = False
        assert missed(lot, brought("c1")) == "worker_lost"
        assert lost.state == "let go"
        full = park(lot, "c2", free=False)
        assert missed(lot, brought("c2")) == "worker_busy"
        assert full.state == "let go"

    run(scene)


def test_nothing_waits_where_nothing_may_or_after_the_end() -> None:
    async def scene(lot: parking.Parking) -> None:
        waiting = park(lot, "c1")
        lot.close()
        assert waiting.state == "let go"
        none = parking.Parking(0, 10)
        assert park(none, "c1").state == "let go"
        assert missed(none, brought("c1")) == "not_parked"

    run(scene)


def test_a_turn_whose_time_ends_badly_keeps_none_of_the_others() -> None:
    async def scene(lot: parking.Parking) -> None:
        broken, other = park(lot, "c1"), park(lot, "c2")
        broken.let_go = failing
        with structlog.testing.capture_logs() as lines:
            await asyncio.sleep(20)
        assert other.state == "let go"
        assert [line["boundary"] for line in lines if line["event"] == "defect"] == ["callback"]
        assert missed(lot, brought("c1")) == missed(lot, brought("c2")) == "not_parked"

    run(scene)


def test_a_turn_that_cannot_go_on_waits_no_longer() -> None:
    """Neither where it waited nor on the place that it may have taken."""

    async def scene(lot: parking.Parking) -> None:
        park(lot, "c1").reseat = failing
        with pytest.raises(RuntimeError):
            lot.take(brought("c1"))
        assert missed(lot, brought("c1")) == "not_parked"

    run(scene)
