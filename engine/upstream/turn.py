"""One turn of an HTTP upstream: its request, as often as it is made, and its answer as events."""

import asyncio
from collections.abc import Iterable
from typing import Final

import aiohttp
import msgspec
import structlog

from engine import containment, failures, redaction, slices, worker
from engine.failures import ProviderFailure
from engine.upstream import (
    body as upstreambody,
    chunkfields,
    chunks,
    client as upstreamclient,
    errors as upstreamerrors,
)
from machines import events, parse

RETRY_AFTER_MAX_S: Final = 5.0
"""Most seconds of `Retry-After` that are waited here; of a longer wait the client is told."""

SLICE_WEIGHT: Final = 1 << 18
"""Code points that a stream is given in one wake-up, at whose end their cost is paid."""

EVENT_WEIGHT: Final = 1 << 8
"""The weight of an event apart from its text, in code points."""

GRACE_PART: Final = 0.9
"""The part of the finish grace for which counts are awaited: what is known must reach a stream
before its own grace is over."""

METHOD: Final = "chat/completions"
"""The name of a request in the event log."""

_log = structlog.get_logger(component="upstream")

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class UpstreamTurn:
    """One turn in motion: its request, and the reading of its answer.

    Args:
        grace: seconds that counts may come after the finish, and the end of the body after them.
    """

    def __init__(
        self,
        turn: worker.Turn,
        feed: worker.Feed,
        client: upstreamclient.Client,
        grace: float,
    ) -> None:
        self._turn = turn
        self._feed = feed
        self._client = client
        self._grace = grace
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._response: aiohttp.ClientResponse | None = None
        self._known = turn.known.beside(turn.body.values())
        self._reader = chunks.ChunkReader(turn.choices, turn.choice, self._known)
        self.task = asyncio.get_running_loop().create_task(self._live())

    def cancel(self) -> None:
        """Close the connection, wherever the answer is."""
        self._feed = worker.SILENCE
        self.task.cancel()

    def pause(self) -> None:
        """Stop reading: the upstream's own connection then holds it back (TCP flow control)."""
        self._flowing.clear()
        self._regulate()

    def resume(self) -> None:
        """Read on, because the client has caught up."""
        self._flowing.set()
        self._regulate()

    def keep(self) -> None:
        """Read on to the body's end, so that the connection can be used again, and emit nothing
        more.

        An answer that is not whole has been cut for the client: nobody wants the rest.
        """
        if self._reader.stage < chunks.Stage.WHOLE:
            self.cancel()
            return
        self._feed = worker.SILENCE
        self.resume()

    def _regulate(self) -> None:
        """Have the transport read, or not, as the last of `pause` and `resume` has it.

        It is not left to the response's own buffer: a connection that breaks takes that along.
        """
        connection = self._response.connection if self._response is not None else None
        transport = connection.transport if connection is not None else None
        if transport is None or transport.is_closing():
            return
        if self._flowing.is_set():
            transport.resume_reading()
        else:
            transport.pause_reading()

    async def _live(self) -> None:
        try:
            body = request_of(self._turn)
            for attempt in range(1, 2 + failures.BEFORE_OUTPUT_RETRIES):
                failure = await self._attempt(body, attempt)
                if failure is None:
                    return
                delay = _delay(failure, attempt)
                if delay is None:
                    self._feed.event(failure.event(self._turn.choice))
                    return
                self._feed.event(failure.retried(attempt, delay, self._turn.choice))
                await asyncio.sleep(delay)
        except Exception as error:
            ids = {"req_id": self._turn.request_id, "stream": self._turn.stream_id}
            containment.report(containment.Boundary.TURN, error, **ids)
            self._feed.event(failures.DEFECT.event(self._turn.choice))

    async def _attempt(self, body: bytes, attempt: int) -> ProviderFailure | None:
        """Make the request and pass its answer on; return a failure if none began."""
        self._feed.event(events.RpcSent(METHOD, attempt, self._turn.choice))
        try:
            response = await self._client.complete(body, dict(self._turn.trace_headers))
        except upstreamclient.Unanswered as unanswered:
            self._note(attempt, unanswered.failure.code)
            return unanswered.failure
        try:
            if not 200 <= response.status < 300:
                self._note(attempt, str(response.status))
                return await _refusal(response, self._known)
            self._note(attempt, None)
            await self._answer(response)
            return None
        finally:
            response.close()

    async def _answer(self, response: aiohttp.ClientResponse) -> None:
        """Pass the answer on to its end, and read on to the end of the body within the grace."""
        self._response = response
        watch = upstreamclient.ConnectionWatch(response)
        body = upstreambody.AnswerBody(self._reader, upstreamclient.is_event_stream(response))
        deadline: float | None = None
        try:
            while data := await _read_until(deadline, response):
                if not self._flowing.is_set():
                    self._regulate()  # a read resumes its transport
                await self._pass_on(body.feed(data))
                if self._reader.stage is chunks.Stage.FAILED:
                    return
                if self._reader.stage >= chunks.Stage.WHOLE and deadline is None:
                    now = asyncio.get_running_loop().time()
                    deadline = now + self._grace * GRACE_PART
            if watch.saw_reset:
                await self._pass_on([self._reader.fail(upstreamerrors.DISCONNECTED)])
            await self._pass_on(body.end())
        except upstreamclient.TRANSPORT_ERRORS:
            await self._pass_on([self._reader.fail(upstreamerrors.DISCONNECTED)])
        finally:
            watch.close()

    async def _pass_on(self, batches: Iterable[chunkfields.Batch | None]) -> None:
        """Give the stream what the answer says, in slices that are a wake-up each.

        Between two of them others run, and a client that reads slowly catches up. A wake-up ends
        in the loop's next round: each upstream has a connection of its own, and so what several
        of them sent at about the same time costs one write of the log.
        """
        own = slices.Slice()
        weight = 0
        for batch in batches:
            for event in batch or ():
                self._feed.event(event)
                weight += _weight(event)
            if own.spent or weight > SLICE_WEIGHT:
                await own.pause()
                await self._flowing.wait()
                weight = 0

    def _note(self, attempt: int, error: str | None) -> None:
        self._feed.event(events.RpcReplied(attempt, error, self._turn.choice))


async def _read_until(deadline: float | None, response: aiohttp.ClientResponse) -> bytes:
    """Read what comes next of a body; empty at its end.

    Raises:
        TimeoutError: nothing came by then.
    """
    if deadline is None:
        return await response.content.readany()
    async with asyncio.timeout_at(deadline):
        return await response.content.readany()


def _weight(event: events.StreamInput) -> int:
    """Estimate how much an event adds to a wake-up, in code points."""
    text = event.text if isinstance(event, events.TextDelta) else ""
    return EVENT_WEIGHT + len(text)


def _delay(failure: ProviderFailure, attempt: int) -> float | None:
    """Return the seconds until the next attempt; None if there is none."""
    asked = failure.retry_after or 0
    if not failure.retryable or attempt > failures.BEFORE_OUTPUT_RETRIES:
        return None
    if asked > RETRY_AFTER_MAX_S:
        return None
    return max(asked, failures.retry_delay(attempt))


async def _refusal(
    response: aiohttp.ClientResponse, known: redaction.Redaction
) -> ProviderFailure:
    """Read the failure that a status of no success stands for; its body may be missing."""
    body = b""
    try:
        async with asyncio.timeout(upstreamclient.ERROR_BODY_S):
            body = await upstreamclient.start_of(response, upstreamclient.ERROR_BYTES)
    except upstreamclient.TRANSPORT_ERRORS:
        _log.info("error_body_missing", status=response.status)
    advice = upstreamclient.advice_of(response)
    location = response.headers.get("location")
    return upstreamerrors.refused(response.status, body, advice, known, location)


def request_of(turn: worker.Turn) -> bytes:
    """Build the body of a turn's request: the client's own, asking the target for a stream with
    usage."""
    fields = dict(turn.body)
    fields["model"] = _raw(turn.target)
    fields["stream"] = _raw(True)
    fields["stream_options"] = _raw({**_stream_options(fields), "include_usage": True})
    return msgspec.json.encode(fields)


def _stream_options(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Return the client's own stream options; none where they are null or no object."""
    try:
        return parse.parse(fields["stream_options"], _FIELDS)
    except (KeyError, parse.ParseError):
        return {}


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
