"""`POST /v1/chat/completions`: from a body to an answer."""

from typing import Final

from engine import slices, workerkinds
from engine.routing import fleet as routing
from machines import events
from server.api import answering, opening
from server.api.call import Call
from server.api.incoming import receive
from server.api.options import AnswerOptions
from server.api.reply import Renderer
from server.chat import passthrough, request as chatbodies, translate
from server.chat.fold import ChatBody
from server.chat.sse import ChatChunks
from server.context import Context


def renderer(opened: events.Opened) -> Renderer:
    """Make the renderer of a chat stream, for a live answer and for a replay."""
    return ChatChunks(opened) if opened.streaming else ChatBody(opened)


API: Final = opening.Api(
    events.CHAT, "chatcmpl-", "messages", may_be_empty=True, repeats=False, renderer=renderer
)
"""The facts that set the answers of this endpoint apart."""


READERS: Final = {
    workerkinds.RequestForm.CONVERSATION: translate.read,
    workerkinds.RequestForm.CHAT_BODY: passthrough.read,
}
"""The reader of a request for each form in which a worker may be given it."""


async def complete(context: Context, call: Call) -> None:
    """Answer `POST /v1/chat/completions`.

    Raises:
        ApiError: for everything that is wrong with the request itself.
    """
    incoming = await receive(context, call)
    if incoming is None:
        return
    config, members = context.config, incoming.members
    request_headers = incoming.exchange.request.headers

    def read(target: routing.Target) -> "slices.Steps[AnswerOptions]":
        request = chatbodies.with_defaults(members, target.defaults)
        return READERS[target.worker.kind.request_form](request, request_headers, config)

    await answering.answer(context, incoming, chatbodies.model_named(members), read, API)
