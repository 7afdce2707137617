"""Rows 20, 30 and 32 of the fault matrix: lines of an app-server of any length, cut anywhere."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench import standin
from tests.faults import codexstage, expected, observed, scene
from tests.faults.codexstage import StandIn
from tests.support.process import machinetime

MIB = 1 << 20

CAP = 16 * MIB
"""The longest line here; by itself the server takes more."""

PIECE = 1 << 14
"""The longest text in one frame."""

READ = 4096
"""What a slow pipe brings at once."""

EVERY_BYTE = tuple(range(1, 300))
"""Cuts of a line at every byte of it that is not always the same."""

AWKWARD = ("👩\u200d👧 日本\u2028", 'é"\\', "\n\n", "\r\n\ufeffx")
"""Texts of one to four bytes a character, and those that JSON escapes."""

LONG = {"64 KiB + 1": 64 * 1024 + 1, "1 MiB": MIB, "16 MiB": 16 * MIB}

TURNS = {
    "split": standin.Turn(deltas=4, texts=AWKWARD, cuts=EVERY_BYTE),
    "slow pipe": standin.Turn(
        deltas=1, line_bytes=8 * MIB, cuts=tuple(range(READ, 8 * MIB, READ))
    ),
    "8 MiB": standin.Turn(deltas=1, line_bytes=8 * MIB),
    "too long": standin.Turn(deltas=1, line_bytes=CAP + 1),
    **{name: standin.Turn(deltas=2, line_bytes=length) for name, length in LONG.items()},
}
"""How a turn goes, by its prompt."""


@pytest.fixture(scope="module")
def on() -> Iterator[StandIn]:
    with codexstage.stand_in(standin.Scenario(turns=TURNS)) as up:
        yield up


def told(on: StandIn, name: str) -> int:
    """Ask for a turn of long lines, whose text must have come whole; how long it is."""
    turn = TURNS[name]
    answer = on.stage.ask(name, stream=True)
    frames = answer.raw.split(b"\n\n")[1:-3]
    pieces = [json.loads(frame[6:])["choices"][0]["delta"]["content"] for frame in frames]
    assert answer.body == (
        expected.role() + expected.content(*pieces) + expected.finish("stop") + expected.DONE
    )
    assert max(map(len, pieces)) <= PIECE
    texts = ["token " + text for text in "".join(pieces).split("token ")[1:]]
    assert len(texts) == turn.deltas
    for text in texts:
        assert text == "token " + "x" * (len(text) - len("token "))
        assert turn.line_bytes - 1024 < len(text) < turn.line_bytes
    on.stage.survived("completed", None, answer)
    return len(texts[0])


@pytest.mark.long(usual=("64 KiB + 1", "1 MiB"))
@pytest.mark.parametrize("name", LONG)
def test_row_20_lines_of_any_length(on: StandIn, name: str) -> None:
    told(on, name)


def test_row_30_lines_that_come_byte_by_byte(on: StandIn) -> None:
    answer = on.stage.ask("split", stream=True)
    assert answer.body == (
        expected.role() + expected.content(*AWKWARD) + expected.finish("stop") + expected.DONE
    )
    on.stage.survived("completed", None, answer)


def test_row_32_a_line_in_small_reads_takes_time_in_proportion(on: StandIn) -> None:
    with machinetime.within(8 * scene.SECOND):
        told(on, "slow pipe")


@pytest.mark.long
def test_row_32_long_lines_leave_no_memory_behind(on: StandIn) -> None:
    server = on.stage.server
    resident, lengths = [], set()
    for _ in range(12):
        lengths.add(len(on.stage.ask("8 MiB", stream=True).raw))
        resident.append(server.resident())
    assert len(lengths) == 1
    on.stage.released()
    # The allocator keeps what it was given once: what leaks is asked for again and again.
    assert min(resident[6:]) - max(resident[:6]) < 8 * MIB


def test_row_32_a_line_over_the_cap_costs_its_process_and_nothing_else() -> None:
    capped: dict[str, Any] = {observed.LINE_BYTES: str(CAP)}
    odd, well = standin.Scenario(turns=TURNS), standin.Scenario()
    with codexstage.stand_in(odd, well, odd, well, **capped) as on:
        told(on, "8 MiB")
        costs_its_process(on)
        before = on.stage.server.resident()
        on.replace_process()
        costs_its_process(on)
        # As much again as the allocator may keep of a line, and not a second line's worth.
        assert on.stage.server.resident() - before < 2 * CAP


def costs_its_process(on: StandIn) -> None:
    """The turn of a line over the cap is answered by the next process."""
    starts = len(on.starts)
    answer = on.stage.ask("too long", stream=True)
    assert answer.body == (
        expected.role()
        + expected.content(*["token "] * 8)
        + expected.finish("stop")
        + expected.DONE
    )
    on.stage.survived("completed", None, answer)
    assert len(on.starts) == starts + 1
    too_long = f"a line is longer than {CAP} bytes"
    machinetime.until(lambda: any(too_long in line["reason"] for line in on.said("worker_lost")))
