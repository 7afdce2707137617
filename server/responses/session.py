"""`GET /v1/responses` with an upgrade: responses one after another, over one WebSocket.

Each `response.create` is a request by itself: it passes the gates under the configuration of its
time, has an id, a stream and an entry of its own, and is answered with the events that a stream
has, a message each. The last conversation is remembered as long as the socket is open, so that a
client which stores nothing sends only what is new.
"""

import asyncio
import contextlib
import secrets
from typing import Any, Final

import msgspec
from wsproto.frame_protocol import CloseReason

from engine import containment, slices
from machines import events, outputs
from server.access.entry import Entry
from server.api import answering, gates, opening, ratelimit, reply, sinks
from server.api.call import Call
from server.api.incoming import IncomingRequest
from server.context import Context
from server.http import decoding, reading
from server.http.errors import ApiError, defect
from server.http.exchange import HeaderList
from server.http.websocket import WebSocket, accept
from server.responses import creation
from server.responses.render.stream import ResponseEvents

CREATE: Final = "response.create"
"""The one message that is taken."""

SWITCHED_OFF: Final = "WebSockets are switched off here; send a POST."
"""Said where the setting is. Codex CLI takes a 426 for what it is and falls back at once."""

STOPPING: Final = "the server stops"
"""The reason of a close in a drain."""

EXPIRED: Final = "The WebSocket has reached the age at which it is closed. Open another to go on."

_DATA: Final = b"\ndata: "

_type: Final = msgspec.json.Decoder(str)

Recent = dict[str, tuple[msgspec.Raw, ...]]


async def converse(context: Context, call: Call) -> None:
    """Answer the messages of a WebSocket until it is closed.

    Raises:
        ApiError: the request is no handshake, or of a page that may not ask, or nobody may.
    """
    exchange, config = call.exchange, context.config
    if not config.enable_websockets:
        raise ApiError("upgrade_required", SWITCHED_OFF)
    gates.check_origin(context, exchange.request)
    headers = accept(exchange.request)
    gates.check_life(context)
    await exchange.request.body()  # which is empty: behind it the other protocol begins
    exchange.switch([*headers, *call.headers])
    loop = asyncio.get_running_loop()
    socket = WebSocket(exchange, config.max_body_bytes, config.websocket_idle_ms / 1000 or None)
    session = Session(call, socket, config.max_body_bytes)
    age = config.websocket_max_age_ms / 1000
    ends = loop.time() + age if age else None
    exchange.on_drain = session.drain
    reader = loop.create_task(socket.read())
    try:
        while (text := await session.asked(ends)) is not None:
            await session.answer(context.in_force.context, text)
            await exchange.drained()  # as between two requests of HTTP
    finally:
        reader.cancel()
        exchange.on_drain = None
        exchange.leave()


class Message:
    """The answer to one message: a `server.api.sinks.Outlet`.

    Attributes:
        status: of the answer, as HTTP would have it; None before there is one.
        body_bytes: of a refusal.
        over: set at its end.
    """

    def __init__(self, socket: WebSocket) -> None:
        self.status: int | None = None
        self.body_bytes = 0
        self.over = asyncio.Event()
        self._socket = socket

    def respond(self, status: int, headers: HeaderList, body: bytes) -> None:
        """Send a refusal as an `error` event."""
        self.status, self.body_bytes = status, len(body)
        error: dict[str, Any] = msgspec.json.decode(body)["error"]
        error["headers"] = {name: value for name, value in headers if name != "content-type"}
        told = {name: error[name] for name in ("code", "message", "param")}
        event = {"type": "error", "sequence_number": 0, "status": status, "error": error, **told}
        self._socket.send([msgspec.json.encode(event)])
        self.over.set()

    def start(self, status: int, headers: HeaderList) -> None:
        """Begin: the events say the rest."""
        self.status = status

    def write(self, data: bytes) -> None:
        """Send events, a message each; a comment is a sign of life."""
        frames = data.split(b"\n\n")
        texts = [frame.partition(_DATA)[2] for frame in frames if frame.startswith(b"event: ")]
        if texts:
            self._socket.send(texts)
        elif data:
            self._socket.ping()

    def finish(self, data: bytes = b"") -> None:
        """Send the last events."""
        if data:
            self.write(data)
        self.over.set()

    def abort(self) -> None:
        """Close the socket: what was sent is not whole."""
        self._socket.close(CloseReason.INTERNAL_ERROR)
        self.over.set()


class Session:
    """The responses of one WebSocket, in order.

    Args:
        call: that asked for it.
        most_bytes: of the conversation that is remembered.
    """

    def __init__(self, call: Call, socket: WebSocket, most_bytes: int) -> None:
        self._call = call
        self._most_bytes = most_bytes
        self._socket = socket
        self._recent: Recent = {}
        self._at: Message | None = None
        self._drains = False

    def drain(self) -> None:
        """Close the socket when no answer is in hand, else after that answer."""
        self._drains = True
        if self._at is None:
            self._socket.close(CloseReason.GOING_AWAY, STOPPING)

    async def asked(self, ends: float | None) -> bytes | None:
        """Return the next message; None when there will be no more, or it is the time to end."""
        if ends is None or asyncio.get_running_loop().time() < ends:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(ends):
                    return await self._socket.message()
        self._expire()
        return None

    def _expire(self) -> None:
        """Close the socket for its age, as OpenAI's API does: whoever has just asked is told by
        an event that SDKs and Codex CLI know, and asks again over another one."""
        error = ApiError("websocket_connection_limit_reached", EXPIRED)
        Message(self._socket).respond(*error.response(list(self._call.headers)))
        self._socket.close(CloseReason.GOING_AWAY, "its age")

    async def answer(self, context: Context, text: bytes) -> None:
        """Answer one message, whatever goes wrong."""
        request, received = self._call.exchange.request, context.log.now()
        entry = context.access.begin(request, f"req_{secrets.token_hex(12)}")
        entry.route = self._call.entry.route
        message = self._at = Message(self._socket)
        try:
            await self._create(context, entry, message, text, received)
        except ApiError as error:
            entry.error = error
        except Exception as error:
            containment.report(containment.Boundary.REQUEST, error, req_id=entry.request_id)
            entry.error = defect()
        finally:
            if entry.error is not None and message.status is None:
                message.respond(*entry.error.response(_headers(entry)))
            context.access.end(entry, message)
            self._at = None
            if self._drains:
                self._socket.close(CloseReason.GOING_AWAY, STOPPING)

    async def _create(
        self, context: Context, entry: Entry, message: Message, text: bytes, received: int
    ) -> None:
        exchange = self._call.exchange
        gates.check_host(context, exchange.request)
        grant = gates.authenticate(context, exchange.request)
        entry.key = grant.name
        caller = gates.Caller(entry.request_id, grant)
        call = Call(exchange, caller, _headers(entry), entry)
        gates.check_life(context)
        ratelimit.admit(context, call)
        limit = context.config.max_input_items
        members = dict(await slices.in_slices(reading.members_of(text, limit)))
        if _kind(members) != CREATE:
            raise decoding.invalid("type", f"it must be {CREATE}")
        members.pop("type")
        warms = bytes(members.pop("generate", decoding.ABSENT)) == b"false"
        members["stream"] = msgspec.Raw(b"true")
        incoming = IncomingRequest(
            exchange, caller, call.headers, entry, text, members, received, self._recent
        )
        creating = await creation.read(context, incoming)
        if creating.request.background:
            raise decoding.unsupported("background")
        if warms:
            await self._warm(creating, message)
            return
        rendered: list[reply.Renderer] = []

        def place(
            opened: events.Opened, renderer: reply.Renderer
        ) -> tuple[sinks.Outlet, sinks.BeforeLast]:
            rendered.append(renderer)
            return message, creating.keep(opened, renderer)

        running = await answering.begin(
            context, incoming, creating.model, creating.read, creating.api, place
        )
        await answering.attend(exchange, running, message.over.wait(), message.over.set)
        self._remember(creating, rendered[0])

    async def _warm(self, creating: creation.Creation, message: Message) -> None:
        """Answer a request that only makes its conversation known: no model is asked."""
        context, caller = creating.context, creating.incoming.caller
        await answering.read_for_first(context, caller.grant, creating.model, creating.read)
        opened = events.Opened(
            request_id=caller.request_id,
            completion_id=opening.fresh_ids(creating.api)[1],
            created=context.log.now() // 1_000_000,
            model=creating.model,
            target="",
            worker="",
            endpoint=events.RESPONSES,
            empty_message="never",
        )
        renderer = creating.api.renderer(opened)
        usage = outputs.UsageTotals(events.Usage(0, 0))
        said = (outputs.Head(), outputs.Finish("stop"), usage, outputs.Done())
        message.start(200, [])
        message.finish(b"".join(renderer.render(each) for each in said))
        self._remember(creating, renderer)

    def _remember(self, creating: creation.Creation, renderer: reply.Renderer) -> None:
        """Remember the conversation that an answer ends, and no other; none of more bytes than a
        conversation that is kept may have."""
        assert isinstance(renderer, ResponseEvents)
        response = renderer.answer.response
        self._recent.clear()
        if response is None or response["status"] not in ("completed", "incomplete"):
            return
        said = (msgspec.Raw(msgspec.json.encode(item)) for item in response["output"])
        whole = (*creating.earlier, *creating.own, *said)
        if sum(memoryview(item).nbytes for item in whole) <= self._most_bytes:
            self._recent[response["id"]] = whole


def _headers(entry: Entry) -> HeaderList:
    """Return the headers of every answer."""
    return [("x-request-id", entry.request_id)]


def _kind(members: reading.Members) -> str:
    try:
        return decoding.decode_outer(_type, members.get("type", decoding.ABSENT))
    except ApiError:
        return ""
