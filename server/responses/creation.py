"""One response that is asked for: what it goes on from, how workers read it, how it is kept."""

import functools
from typing import Final

import msgspec

from engine import slices, worker, workerkinds
from engine.routing import fleet as routing
from engine.store import store as responsestore
from machines import events
from server.api import opening, reply, sinks
from server.api.incoming import IncomingRequest
from server.api.options import AnswerOptions
from server.chat import request as chatbodies
from server.context import Context
from server.http import reading
from server.http.errors import ApiError
from server.responses.kept import keeping, runs
from server.responses.render import echo, rendering
from server.responses.render.fold import ResponseBody
from server.responses.render.stream import ResponseEvents
from server.responses.request import body as responsesbodies, conversation, options, to_chat

API: Final = opening.Api(
    events.RESPONSES,
    "resp_",
    "input",
    may_be_empty=False,
    repeats=True,
    renderer=rendering.renderer,
)
"""The facts that set the answers of this endpoint apart."""

PREVIOUS: Final = "previous_response_id"
"""The field that names the response which a request goes on from."""


class Creation(msgspec.Struct, frozen=True):
    """A request to create a response.

    Attributes:
        ignored: names of what nothing honours.
        own: the items of the request itself.
        messages: the whole conversation.
        earlier: the items of the conversation before it.
        repeated: what the answer repeats of the request.
    """

    context: Context
    incoming: IncomingRequest
    request: responsesbodies.ResponsesRequest
    ignored: tuple[str, ...]
    own: tuple[msgspec.Raw, ...]
    messages: tuple[worker.Message, ...]
    repeated: echo.Echo
    earlier: tuple[msgspec.Raw, ...] = ()

    @property
    def api(self) -> opening.Api:
        """The facts that set this answer apart: it repeats its own request."""
        made = functools.partial(rendering.renderer, repeated=self.repeated)
        return msgspec.structs.replace(API, renderer=made)

    @property
    def keeps(self) -> bool:
        """Whether the response is kept."""
        return self.context.store is not None and self.request.store is not False

    @property
    def model(self) -> str:
        """The name of the model that is asked for."""
        return self.request.model or ""

    def read(self, target: routing.Target) -> slices.Steps[AnswerOptions]:
        """Read what is asked of a target's worker.

        Raises:
            ApiError: with the field at fault.
        """
        passed_on = target.worker.kind.request_form is workerkinds.RequestForm.CHAT_BODY
        reads = options.passthrough if passed_on else options.read
        headers = self.incoming.exchange.request.headers
        found = yield from reads(
            self.request, self.ignored, self.messages, headers, self.context.config
        )
        body: reading.Members = {}
        if passed_on:
            translated = yield from to_chat.chat_body(self.request, self.messages, found.tools)
            body = chatbodies.with_defaults(translated, target.defaults)
        encrypted = echo.ENCRYPTED_REASONING in (self.request.include or ())
        return msgspec.structs.replace(
            found,
            stream=found.stream or bool(self.request.background),
            body=body,
            stored=self.keeps,
            reasoning_items=self.keeps or encrypted,
            separate_items=True,
            empty_message="completed" if passed_on else "never",
        )

    def begun(self, opened: events.Opened) -> responsestore.StoredResponse:
        """Make the response that is known from the request alone."""
        return responsestore.StoredResponse(
            response_id=opened.completion_id,
            key_id=self.incoming.caller.key_id,
            created_at=opened.created,
            status="in_progress",
            previous_response_id=self.request.previous_response_id,
            body=b"",
            input=self.own,
        )

    def keep(self, opened: events.Opened, renderer: reply.Renderer) -> sinks.BeforeLast:
        """Make the step that keeps the response before its client learns of its end."""
        assert isinstance(renderer, ResponseEvents | ResponseBody)
        store = self.context.store
        if store is None or not self.keeps:
            return sinks.at_once
        return keeping.Keeper(store, self.begun(opened), renderer.answer).before_last


async def read(context: Context, incoming: IncomingRequest) -> Creation:
    """Read a request, with the kept items of the response that it goes on from.

    Raises:
        ApiError: with the field at fault.
    """
    limit = context.config.max_input_items
    own = slices.Slice()  # of all that follows together: many short parts are long as well
    request, ignored = await slices.in_slices(responsesbodies.parse(incoming.members, limit), own)
    listed = await slices.in_slices(conversation.listed(request.items), own)
    ids = await slices.in_slices(conversation.references(request.items), own)
    found: dict[str, msgspec.Raw] = {}
    if ids and context.store is not None:
        with keeping.needed():
            found = await context.store.items(ids, incoming.caller.key_id)
    resolved = await slices.in_slices(conversation.resolve(listed, found, limit), own)
    kept = await _earlier(context, incoming, request.previous_response_id)
    earlier = await slices.in_slices(conversation.read(kept, limit), own)
    items, raws = await slices.in_slices(conversation.divided(resolved), own)
    request = await slices.in_slices(responsesbodies.carried(request, earlier, limit), own)
    made = conversation.messages(items, request.prologue, earlier, request.offered)
    messages = await slices.in_slices(made, own)
    has_shapes = bool(request.offered.shapes)
    repeated = await slices.in_slices(echo.of(incoming.members, has_shapes), own)
    for each in (listed, resolved, items, earlier):
        await slices.in_slices(slices.emptied(each), own)
    return Creation(context, incoming, request, ignored, raws, messages, repeated, kept)


async def _earlier(
    context: Context, incoming: IncomingRequest, response_id: str | None
) -> tuple[msgspec.Raw, ...]:
    """Return the conversation that the request goes on from."""
    if response_id is None:
        return ()
    if response_id in incoming.recent:
        return incoming.recent[response_id]
    run = runs.of(context).find(response_id, incoming.caller.key_id)
    if run is not None and not run.over.is_set():
        message = f"Response with id '{response_id[:100]}' is not finished."
        raise ApiError("invalid_request", message, PREVIOUS)
    missing, advice = response_id, ""
    if context.store is None:
        advice = " This server keeps no responses (PROXY_STORE=off)."
    else:
        try:
            with keeping.needed():
                return await context.store.conversation(response_id, incoming.caller.key_id)
        except responsestore.ResponseMissing as error:
            missing = error.response_id
        except responsestore.ConversationTooLarge:
            message = "The conversation of the previous response is too long."
            raise ApiError("context_length_exceeded", message, PREVIOUS) from None
    message = f"Previous response with id '{missing[:100]}' not found.{advice}"
    raise ApiError("previous_response_not_found", message, PREVIOUS)
