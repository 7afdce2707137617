"""The upstream worker: the contract of every worker, requests, readiness, connections."""

import asyncio
import contextlib
import errno
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec
import pytest
import structlog
import uvloop

from engine import slices, worker
from engine.log import event_log as eventlog
from engine.stream import sink, wakeups
from engine.upstream import client as upstreamclient, turn as upstreamturn, worker as upstream
from machines.events import (
    RpcReplied,
    RpcSent,
    StreamEvent,
    TextDelta,
    TokensCounted,
    TurnFailed,
    TurnFinished,
    Usage,
)
from tests.engine.worker_contract import ENDS, SAID, WAIT_S, Course, Feed, WorkerContract
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import LAST, STREAM_HEAD, chunk, counted, framed, sse, usage
from tests.support.requests import chatrequests


def turn(choice: int = 0, target: str = "m-1", **body: Any) -> worker.Turn:
    """A turn with this body."""
    asked = {"model": "alias", "messages": [{"role": "user", "content": "hi"}], **body}
    return worker.Turn(
        stream_id="st_1",
        request_id="req_1",
        target=target,
        messages=(),
        choice=choice,
        choices=body.get("n", 1),
        body=chatrequests.raw_members(asked),
    )


async def until_state(runner: worker.Worker, *states: str) -> None:
    """Wait for one of these states of health."""
    async with asyncio.timeout(WAIT_S):
        while runner.health().state not in states:  # noqa: ASYNC110 - so load balancers ask, too
            await asyncio.sleep(0.001)


async def until_ready(runner: worker.Worker) -> None:
    """Wait for the upstream's listing."""
    await until_state(runner, "ready")


@contextlib.asynccontextmanager
async def running(url: str, **options: Any) -> AsyncIterator[upstream.UpstreamWorker]:
    """A worker on an upstream."""
    runner = upstream.UpstreamWorker(upstreamclient.Options(url=url, **options))
    await runner.start()
    try:
        yield runner
    finally:
        await runner.stop()


Scene = Callable[[upstreams.Upstream, upstream.UpstreamWorker], Awaitable[None]]


def play(scene: Scene, script: upstreams.Script = (), **options: Any) -> None:
    """Run a scene with a worker on an upstream."""

    async def run() -> None:
        async with upstreams.serving(script) as source, running(source.url, **options) as runner:
            await scene(source, runner)

    uvloop.run(run())


COURSES: dict[str, upstreams.Answer] = {
    "whole": upstreams.stream(
        *map(chunk, SAID), chunk(finish="stop", usage=usage(10, 3)), counted(10, 3)
    ),
    "open": [STREAM_HEAD + framed(sse(chunk(SAID[0]))), "stall"],
    "broken": [STREAM_HEAD + framed(sse(chunk(SAID[0]))), "reset"],
}


class TestUpstream(WorkerContract):
    """An HTTP upstream as a worker; no process of ours exits when its turn breaks."""

    broken_code = "upstream_disconnected"

    @contextlib.asynccontextmanager
    async def ready(self, directory: Path) -> AsyncIterator[worker.Worker]:
        async with (
            upstreams.serving(lambda request: COURSES[request.body["model"]]) as source,
            running(source.url) as runner,
        ):
            await self.until_ready(runner)
            yield runner

    async def until_ready(self, runner: worker.Worker) -> None:
        await until_ready(runner)

    def turn(self, course: Course) -> worker.Turn:
        return turn(target=course)

    def refused(self) -> worker.Turn:
        return msgspec.structs.replace(turn(), body={})


async def ended(runner: worker.Worker, asked: worker.Turn) -> Feed:
    """A turn's feed, once it has ended."""
    feed = Feed()
    runner.run(asked, feed)
    await feed.until(*ENDS)
    return feed


ANSWER = upstreams.stream(chunk("hi"), chunk(finish="stop"), counted(7, 2))


def test_the_request_is_the_clients_own_as_a_counted_stream() -> None:
    body: dict[str, Any] = {
        "stream": False,
        "stream_options": {"include_obfuscation": False},
        "n": 1,
        "seed": 12345678901234567890123,
        "vendor": {"deep": [1.0, None]},
        "temperature": None,
    }

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        await ended(runner, turn(**body))
        (request,) = source.requests
        assert request.line == "POST /v1/chat/completions HTTP/1.1"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["authorization"] == "Bearer sk-up"
        assert request.headers["x-team"] == "edge"
        assert request.headers["user-agent"] == "ours"
        assert request.body == {
            **body,
            "model": "m-1",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "stream_options": {"include_obfuscation": False, "include_usage": True},
        }
        assert b"12345678901234567890123" in request.raw

    headers = (("X-Team", "edge"), ("User-Agent", "ours"))
    play(scene, [ANSWER], api_key="sk-up", headers=headers)


@pytest.mark.parametrize("options", [None, [], "x", {"include_usage": False}])
def test_usage_is_asked_for_whatever_the_client_said(options: Any) -> None:
    asked = json.loads(upstreamturn.request_of(turn(stream_options=options)))
    assert asked["stream_options"] == {"include_usage": True}


def test_a_header_may_stand_in_for_the_key_and_a_query_is_kept() -> None:
    async def main() -> None:
        async with upstreams.serving([ANSWER]) as source:
            url = f"http://127.0.0.1:{source.port}/deployments/a/?api-version=7"
            async with running(url, headers=(("Authorization", "Basic eA=="),)) as runner:
                await ended(runner, turn())
                await until_ready(runner)
            lines = [source.requests[0].line, source.listings[0].line]
            assert source.requests[0].headers["authorization"] == "Basic eA=="
        assert lines == [
            "POST /deployments/a/chat/completions?api-version=7 HTTP/1.1",
            "GET /deployments/a/models?api-version=7 HTTP/1.1",
        ]

    uvloop.run(main())


def test_a_turn_tells_its_attempt_its_answer_and_its_counts() -> None:
    async def scene(_: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        runner.run(turn(), feed)
        await feed.until(TokensCounted)
        assert feed.events == [
            RpcSent("chat/completions", 1),
            RpcReplied(1),
            TextDelta("hi"),
            TurnFinished("stop", followed=True),
            TokensCounted(Usage(7, 2)),
        ]

    play(scene, [ANSWER])


def test_one_request_carries_every_choice() -> None:
    def piece(index: int, text: str | None, finish: str | None = None) -> dict[str, Any]:
        delta = {} if text is None else {"content": text}
        return chunk(choices=[{"index": index, "delta": delta, "finish_reason": finish}])

    script = [
        upstreams.stream(
            piece(0, "a"),
            piece(1, "b"),
            piece(1, None, "length"),
            piece(0, "c"),
            piece(0, None, "stop"),
            counted(7, 5),
        )
    ]

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        runner.run(turn(n=2), feed)
        await feed.until(TokensCounted, count=2)
        assert feed.events[2:] == [
            TextDelta("a", 0),
            TextDelta("b", 1),
            TurnFinished("length", 1, followed=True),
            TextDelta("c", 0),
            TurnFinished("stop", 0, followed=True),
            TokensCounted(Usage(7, 5), 0),
            TokensCounted(Usage(7, 0), 1),
        ]
        assert [request.body["n"] for request in source.requests] == [2]

    play(scene, script)


def test_what_one_read_brought_is_told_in_one_go() -> None:
    both = sse(chunk("a"), chunk("b"))
    script: upstreams.Script = [
        [STREAM_HEAD + framed(both) + framed(sse(chunk(finish="stop"))), "stall"]
    ]

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        rounds: list[int] = []  # of the loop, in which an event came
        loop = asyncio.get_running_loop()

        def next_round() -> None:
            rounds.append(0)
            loop.call_soon(next_round)

        came: list[int] = []
        feed.on_event = lambda event: came.append(len(rounds))
        next_round()
        runner.run(turn(), feed)
        await feed.until(TurnFinished)
        assert len(set(came[-3:])) == 1

    play(scene, script)


class JoiningFeed(Feed):
    """A stream that joins the wake-up at each event, and a log that counts its flushes."""

    flushes = 0

    def __init__(self) -> None:
        super().__init__()
        event_log = cast(eventlog.EventLog, cast(object, self))
        self.wakeups = wakeups.Wakeups(asyncio.get_running_loop(), event_log)
        self.on_event = lambda event: self.wakeups.join(self, self)

    def flush(self) -> None:
        """Count it."""
        self.flushes += 1

    def when_durable(self, callback: Callable[[], object]) -> None:
        """There is nothing to send."""

    def collect(self) -> sink.Part:
        """There is nothing."""
        return sink.NOTHING

    def send(self, part: sink.Part) -> None:
        """There is nothing."""

    def finish(self, part: sink.Part, failed: Callable[[Exception], None]) -> None:
        """There is nothing."""

    def flush_texts(self) -> None:
        """None wait."""

    def broke(self, _: object, error: Exception) -> None:
        raise error


def test_what_several_upstreams_send_at_once_costs_one_write_of_the_log() -> None:
    gates = [scripted.Gate() for _ in range(5)]
    frame = framed(sse(chunk("a")))
    script: upstreams.Script = [
        [STREAM_HEAD + frame, *(step for gate in gates for step in (gate, frame)), "stall"]
    ]
    streams = 4

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = JoiningFeed()
        for _ in range(streams):
            runner.run(turn(), feed)
        await feed.until(TextDelta, count=streams)
        await asyncio.sleep(0.01)
        before = feed.flushes
        for number, gate in enumerate(gates, 2):
            gate.open()
            await feed.until(TextDelta, count=number * streams)
            await asyncio.sleep(0.01)
        # Each by itself would be twice as many at least, however busy the machine is.
        assert 0 < feed.flushes - before <= len(gates) * streams // 2

    play(scene, script)


def test_a_whole_answers_connection_is_used_again() -> None:
    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        await until_ready(runner)
        for _ in range(3):
            feed = Feed()
            turning = runner.run(turn(), feed)
            await feed.until(TokensCounted)
            turning.keep()
            await turning.task
        assert [request.connection for request in source.requests] == [0, 0, 0]

    play(scene, [ANSWER])


def test_a_kept_turn_says_no_more_and_lets_go_of_a_connection_that_stays_open() -> None:
    script: upstreams.Script = [
        [STREAM_HEAD + framed(sse(chunk("a"), chunk(finish="stop"))), "stall"]
    ]

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        turning = runner.run(turn(), feed)
        feed.on_event = lambda event: turning.keep() if isinstance(event, TurnFinished) else None
        await feed.until(TurnFinished)
        async with asyncio.timeout(WAIT_S):
            await source.requests[0].left.reached()
        await turning.task
        assert feed.events[-1] == TurnFinished("stop", followed=True)

    play(scene, script, finish_grace=0.05)


@pytest.mark.parametrize("at", ["start", "content"])
def test_row_6_a_paused_turn_holds_its_upstream_back(at: str) -> None:
    gate = scripted.Gate()
    flood = [framed(sse(chunk("x" * 2**16)))] * 512
    end = framed(sse(chunk(finish="stop"))) + LAST
    script: upstreams.Script = [[STREAM_HEAD + framed(sse(chunk("a"))), gate, *flood, end]]

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        turning = runner.run(turn(), feed)
        if at == "content":
            await feed.until(TextDelta)
        turning.pause()
        turning.pause()
        await feed.until(TextDelta)
        gate.open()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.requests[0].answered.reached(), 0.2)
        assert feed.text == "a"
        turning.resume()
        turning.resume()
        await feed.until(TurnFinished)
        assert len(feed.text) == 1 + 512 * 2**16

    play(scene, script)


def test_row_6_what_came_before_a_reset_is_told_although_the_turn_was_paused() -> None:
    gate = scripted.Gate()
    late = [framed(sse(chunk(text))) for text in "bc"]
    script: upstreams.Script = [[STREAM_HEAD + framed(sse(chunk("a"))), gate, *late, "reset"]]

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        turning = runner.run(turn(), feed)
        await feed.until(TextDelta)
        turning.pause()
        gate.open()
        await source.until(lambda: source.open_connections == 0)
        turning.resume()
        await feed.until(*ENDS)
        assert feed.text == "abc"
        assert isinstance(feed.events[-1], TurnFailed)

    play(scene, script)


def test_row_6_a_paused_turn_can_be_kept() -> None:
    gate = scripted.Gate()

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        turning = runner.run(turn(), feed)
        await feed.until(TokensCounted)
        turning.pause()
        turning.keep()
        gate.open()
        async with asyncio.timeout(WAIT_S):
            await turning.task
        assert (await ended(runner, turn())).text == "hi"
        assert [request.connection for request in source.requests] == [0, 0]

    play(scene, [[*ANSWER[:-1], gate, LAST], ANSWER], finish_grace=30)


def test_row_6_a_paused_turn_can_be_cancelled_and_one_that_is_over_paused() -> None:
    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        turning = runner.run(turn(), feed)
        await feed.until(TokensCounted)
        turning.pause()
        turning.cancel()
        async with asyncio.timeout(WAIT_S):
            await source.requests[0].left.reached()
        turning = runner.run(turn(), Feed())
        await turning.task
        turning.pause()
        turning.resume()
        assert (await ended(runner, turn())).text == "hi"

    play(scene, [[*ANSWER[:-1], "stall"], ANSWER], finish_grace=30)


@pytest.mark.parametrize("at", ["connecting", "head", "content", "finish"])
def test_row_4_a_cancelled_turns_connection_is_closed_at_once(at: str) -> None:
    begun = STREAM_HEAD + framed(sse(chunk("a")))
    scripts: dict[str, upstreams.Answer] = {
        "connecting": ["stall"],
        "head": [STREAM_HEAD, "stall"],
        "content": [begun, "stall"],
        "finish": [begun + framed(sse(chunk(finish="stop"))), "stall"],
    }
    awaited: dict[str, type[StreamEvent]] = {
        "head": RpcReplied,
        "content": TextDelta,
        "finish": TurnFinished,
    }

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        turning = runner.run(turn(), feed)
        await source.until(lambda: source.requests)
        if at != "connecting":
            await feed.until(awaited[at])
        turning.cancel()
        before = list(feed.events)
        async with asyncio.timeout(WAIT_S):
            await source.requests[0].left.reached()
        assert feed.events == before

    play(scene, [scripts[at]], finish_grace=30)


def test_row_4_a_thousand_clients_that_leave_leave_nothing() -> None:
    script: upstreams.Script = [[STREAM_HEAD + framed(sse(chunk("a"))), "stall"]]

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        await until_ready(runner)
        await source.until(lambda: source.listings)
        before = (open_files(), len(asyncio.all_tasks()))
        for _ in range(40):
            feeds = [Feed() for _ in range(25)]
            turns = [runner.run(turn(), feed) for feed in feeds]
            for feed, turning in zip(feeds, turns, strict=True):
                await feed.until(TextDelta)
                turning.cancel()
            await asyncio.wait([turning.task for turning in turns])
        await source.until(lambda: source.open_connections <= 1)
        assert len(source.requests) == 1000
        for _ in range(5):  # what was closed goes at the end of the loop's round
            await asyncio.sleep(0)
        assert (open_files(), len(asyncio.all_tasks())) <= before

    play(scene, script)


def listing(status: int, body: scripted.Json | bytes) -> tuple[worker.Health, tuple[str, ...]]:
    """What a worker makes of a listing."""

    async def main() -> tuple[worker.Health, tuple[str, ...]]:
        answer = upstreams.response(status, body)
        async with upstreams.serving(models=answer) as source, running(source.url) as runner:
            assert runner.health().code == "worker_not_ready"
            await until_state(runner, "ready", "unreachable")
            return runner.health(), runner.models()

    return uvloop.run(main())


READY = worker.Health(True, "ready")


def test_the_models_are_the_upstreams() -> None:
    listed = {"data": [{"id": "b"}, {"id": "a"}, {"id": "b"}, {"id": 5}]}
    assert listing(200, listed) == (READY, ("b", "a"))


NO_LISTINGS = [b"", b"<html>", b"[]", b'{"data":{}}', b'{"data":[1]}', b"null", b"[" * 5000]


@pytest.mark.parametrize("body", [*NO_LISTINGS, b'{"data":%b}' % (b"[" * 5000 + b"]" * 5000)])
def test_a_listing_that_is_none_lists_nothing(body: bytes) -> None:
    assert listing(200, body) == (READY, ())


def test_a_bare_array_is_a_listing_and_rows_without_an_id_are_left_out() -> None:
    assert listing(200, b'[{"id":"a"}, 5, {}, {"id":"b"}]') == (READY, ("a", "b"))


def test_a_listing_of_any_length_is_cut() -> None:
    rows = [{"id": f"m{number}"} for number in range(100_000)]
    steps = upstreamclient.listing(json.dumps({"data": rows}).encode())
    found = slices.at_once(steps)
    assert found.beyond
    assert tuple(found.models) == tuple(
        f"m{number}" for number in range(upstreamclient.MODELS_MAX)
    )


def test_a_listing_of_just_as_many_is_whole() -> None:
    rows = [{"id": f"m{number}"} for number in range(upstreamclient.MODELS_MAX)]
    found = slices.at_once(upstreamclient.listing(json.dumps({"data": rows}).encode()))
    assert (len(found.models), found.beyond) == (upstreamclient.MODELS_MAX, False)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_limits_of_our_own_are_no_fault_of_the_upstream(number: int) -> None:
    key = aiohttp.client_reqrep.ConnectionKey("h", 1, False, True, None, None, None)
    error = aiohttp.ClientConnectorError(key, OSError(number, os.strerror(number)))
    with structlog.testing.capture_logs() as lines:
        failure = upstreamclient.failure_of(error)
    assert (failure.kind, failure.code) == ("rejected", "worker_not_ready")
    assert [line["why"] for line in lines] == [os.strerror(number)]


@pytest.mark.parametrize("status", [401, 404, 405])
def test_an_upstream_without_a_listing_is_there(status: int) -> None:
    assert listing(status, {"error": "no"}) == (READY, ())


def test_an_upstream_that_fails_is_not_there() -> None:
    health, _ = listing(503, b"")
    assert (health.ready, health.state, health.code) == (False, "unreachable", "worker_not_ready")
    assert health.retry_after


async def listed_again(source: upstreams.Upstream) -> None:
    """Wait until an answer to who asks for the models from now on has been taken."""
    asked = len(source.listings)
    await source.until(lambda: len(source.listings) > asked + 2)


def test_models_are_asked_for_again_and_kept_if_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream, "REFRESH_S", 0.01)

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        for answer in (
            upstreams.response(200, {"data": [{"id": "new"}]}),
            upstreams.response(404, b""),
            upstreams.response(200, b""),
        ):
            source.models = answer
            await listed_again(source)
        assert (runner.health().state, runner.models()) == ("ready", ("new",))

    play(scene)


def test_stopping_ends_every_turn_and_closes_its_connection() -> None:
    script: upstreams.Script = [[STREAM_HEAD + framed(sse(chunk("a"))), "stall"]]

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feeds = [Feed() for _ in range(3)]
        turns = [runner.run(turn(), feed) for feed in feeds]
        for feed in feeds:
            await feed.until(TextDelta)
        await runner.stop()
        assert all(turning.task.done() for turning in turns)
        await source.until(lambda: source.open_connections == 0)

    play(scene, script)


def test_it_becomes_ready_when_the_upstream_comes() -> None:
    async def main() -> None:
        source = upstreams.Upstream((), upstreams.LISTED)
        await source.open()
        await source.close()
        async with running(source.url) as runner:
            await until_state(runner, "unreachable")
            await source.open(source.port)
            await until_ready(runner)
            assert runner.models() == ("upstream-model", "whole")
        await source.close()

    uvloop.run(main())


def test_a_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with upstreams.serving([ANSWER]) as proxy:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            async with running("http://llm.invalid/v1") as runner:
                feed = await ended(runner, turn())
            assert feed.text == "hi", feed.events
            expected = "POST http://llm.invalid/v1/chat/completions HTTP/1.1"
            assert proxy.requests[0].line == expected

    uvloop.run(main())
