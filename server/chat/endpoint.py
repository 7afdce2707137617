"""`POST /v1/chat/completions`: from a body to an answer."""

from typing import Final

from engine import slices, workerkinds
from engine.routing import fleet as routing
from machines import events
from server.api import answering, asked
from server.api.call import Call
from server.api.reply import Renderer
from server.chat import passthrough as passedon, request as bodies, translate as chatturn
from server.chat.fold import ChatBody
from server.chat.sse import ChatChunks
from server.context import Context


def renderer(opened: events.Opened) -> Renderer:
    """What turns the outputs of a chat stream into bytes, live and in a replay."""
    return ChatChunks(opened) if opened.streaming else ChatBody(opened)


API: Final = answering.Api(events.CHAT, "chatcmpl-", "messages", True, renderer)
"""What sets its answers apart."""


READERS: Final = {
    workerkinds.RequestForm.CONVERSATION: chatturn.read,
    workerkinds.RequestForm.CHAT_BODY: passedon.read,
}
"""How a request is read for each form in which a worker may be given it."""


async def complete(context: Context, call: Call) -> None:
    """`POST /v1/chat/completions`.

    Raises:
        ApiError: for everything that is wrong with the request itself.
    """
    ask = await answering.receive(context, call)
    if ask is None:
        return
    config, members = context.config, ask.members
    request_headers = ask.exchange.request.headers

    def read(target: routing.Target) -> slices.Steps[asked.Asked]:
        request = bodies.with_defaults(members, target.defaults)
        return READERS[target.worker.kind.request_form](request, request_headers, config)

    await answering.answer(context, ask, bodies.model_named(members), read, API)
