"""Rows 6, 36 and 37: a client too slow, streams too many, streams by the hundred."""

import concurrent.futures
import random
import threading

import pytest

from machines import events
from server.http import exchange as http
from tests.faults import expected, scene
from tests.faults.upstreamstage import FINISHED, SO_FAR, TOLD, WHOLE, Staged, upstream
from tests.support.process import machinetime
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import STREAM_HEAD, chunk, framed, response, sse

MIB = 2**20

STALL_S = 1.5
"""Seconds without a byte drained that a client is allowed here."""

FLOOD = scripted.Repeated(framed(sse(chunk("x" * 16_000))), 12_500)
"""200 MB."""


@pytest.mark.long
def test_row_06_a_client_that_stops_reading_holds_its_own_upstream_back() -> None:
    limits = {"write_stall": STALL_S, "over_limit_stall": STALL_S}
    with upstream(http_limits=limits, PROXY_SSE_MAX_CONCURRENCY="2") as staged:
        server = staged.stage.server
        prompt = staged.source.prompt([STREAM_HEAD, FLOOD])
        before = most = server.resident()
        with staged.stage.asked(prompt, stream=True, receive_buffer=4096) as stalled:
            stalled.until(b"xxx")
            while server.get("/healthz")[1]["streams"]:
                with machinetime.within(scene.SECOND):
                    other = staged.streamed([TOLD + FINISHED])
                assert other.body == SO_FAR + expected.finish("stop") + expected.DONE
                most = max(most, server.resident())
        assert most - before < 24 * MIB
        (request,) = staged.source.requests_for(prompt)
        machinetime.until(request.left.is_set, scene.SECOND)
        assert request.sent < 32 * MIB, "the systems' own buffers, and no more"
        (last,) = staged.survived("client_gone", None, stalled, cause="write_stall")
        assert last.duration_us > STALL_S * 1e6
        pressed = [
            event
            for event in staged.stage.story(stalled)
            if isinstance(event, events.BufferPressure)
        ]
        assert pressed[0].buffered > http.Limits().buffer_bytes


def test_row_06_a_client_that_reads_on_gets_every_byte() -> None:
    times = 500
    flood = scripted.Repeated(framed(sse(chunk("x" * 16_000))), times)
    with upstream() as staged:
        prompt = staged.source.prompt([STREAM_HEAD, flood, FINISHED])
        with staged.stage.asked(prompt, stream=True, receive_buffer=65536) as slow:
            slow.until(b"xxx")
            machinetime.until(lambda: pressed(staged, slow))
            answer = slow.answer()
        assert answer.body == (
            expected.role()
            + times * expected.content("x" * 16_000)
            + expected.finish("stop")
            + expected.DONE
        )
        staged.survived("completed", None, answer)


def pressed(staged: Staged, asked: scene.Asked) -> bool:
    """Whether the stream's buffer has been over its limit."""
    return any(isinstance(event, events.BufferPressure) for event in staged.stage.story(asked))


def test_row_36_more_streams_than_permits_are_refused_at_once() -> None:
    with upstream(PROXY_SSE_MAX_CONCURRENCY="2") as staged:
        gate = scripted.Gate()
        prompt = staged.source.prompt([TOLD, gate, FINISHED, "close"])
        held = [staged.stage.asked(prompt, stream=True) for _ in range(2)]
        for each in held:
            each.until(b'"lo"')
        for _ in range(5):
            with machinetime.within(scene.SECOND):
                refused = staged.stage.ask(prompt, stream=True)
            assert (refused.status, refused.headers["retry-after"]) == (429, "1")
            assert refused.error["code"] == "concurrency_exceeded"
            staged.stage.recorded("rejected", "concurrency_exceeded", refused)
        assert len(staged.source.requests_for(prompt)) == 2
        gate.open()
        answers = [each.answer() for each in held]
        for answer in answers:
            assert answer.body == SO_FAR + expected.finish("stop") + expected.DONE
        staged.stage.survived("completed", None, *answers)


def test_row_36_an_upstream_that_is_overloaded_is_asked_again() -> None:
    """The nearest to Codex's `-32001`: a status that says so, before the answer began."""
    with upstream(constants={"engine.failures.RETRY_BASE_S": 0.04}) as staged:
        busy = response(529, {"error": {"message": "overloaded"}})
        prompt = staged.source.prompt(
            busy, busy, upstreams.stream(chunk("Hello"), chunk(finish="stop"))
        )
        answer = staged.stage.ask(prompt, stream=True)
        assert answer.body == WHOLE + expected.DONE
        staged.survived("completed", None, answer)
        assert len(staged.source.requests_for(prompt)) == 3


STREAMS, CHUNKS, PACE_S = 64, 150, 0.02


@pytest.mark.long
def test_row_37_many_streams_at_a_steady_pace_lose_nothing() -> None:
    """Three seconds of what the soak benchmark does for minutes."""
    paced: list[scripted.Step] = [STREAM_HEAD]
    for number in range(CHUNKS):
        paced += [framed(sse(chunk(f"{number} "))), PACE_S]
    rng = random.Random(3737)
    leaving = {
        each: rng.randrange(1, CHUNKS) for each in rng.sample(range(STREAMS), STREAMS // 10)
    }
    with upstream(PROXY_SSE_MAX_CONCURRENCY=str(STREAMS)) as staged:
        prompt = staged.source.prompt([*paced, FINISHED, "close"])

        def read(number: int) -> scene.Answer | scene.Asked:
            with staged.stage.asked(prompt, stream=True) as asked:
                if number not in leaving:
                    return asked.answer()
                asked.until(b'"%d "' % leaving[number])
                return asked

        resident = []
        with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
            running = [pool.submit(read, number) for number in range(STREAMS)]
            while not all(each.done() for each in running):
                threading.Event().wait(0.25)
                resident.append(staged.stage.server.resident())
            results = [each.result() for each in running]
        whole = [each for each in results if isinstance(each, scene.Answer)]
        gone = [each for each in results if isinstance(each, scene.Asked)]
        assert (len(whole), len(gone)) == (STREAMS - STREAMS // 10, STREAMS // 10)
        body = expected.role() + expected.content(*(f"{number} " for number in range(CHUNKS)))
        for answer in whole:
            assert answer.body == body + expected.finish("stop") + expected.DONE
        staged.stage.released()
        assert resident[-1] < resident[len(resident) // 2] + 8 * MIB
        kinds = [end["kind"] for end in staged.stage.server.terminals()]
        assert kinds.count("client_gone") == len(gone)
        assert set(kinds) == {"client_gone", "completed"}
        staged.stage.recorded("completed", None, whole[0])
        staged.stage.recorded("client_gone", None, gone[0], cause="left")
