"""`POST /v1/chat/completions`: from a body to an answer."""

from typing import Final

import msgspec

from engine import routing
from machines import events
from server import answering, asked, bodies, passedon
from server.call import Call
from server.context import Context
from server.gates import check_life

API: Final = answering.Api(events.CHAT, "chatcmpl-", "messages", may_be_empty=True)
"""What sets its answers apart."""


async def complete(context: Context, call: Call) -> None:
    """`POST /v1/chat/completions`.

    Raises:
        ApiError: for everything that is wrong with the request itself.
    """
    ask = await answering.receive(context, call)
    if ask is None:
        return
    check_life(context)  # which may have changed while the body came
    body, request_headers = ask.body, ask.exchange.request.headers

    def read(target: routing.Target) -> asked.Asked:
        request = bodies.with_defaults(body, target.defaults)
        reader = passedon.read if target.worker.name == "upstream" else asked.read
        wanted = reader(request, request_headers, context.config)
        return msgspec.structs.replace(wanted, body=request)

    wanted = read(_target(context, body))
    await answering.answer(context, ask, wanted, API, read)


def _target(context: Context, body: bytes) -> routing.Target:
    """The target that decides what of a request is read.

    Without rules for models there is but one, and a body need not be read twice.
    """
    return context.fleet.resolve_or_default(
        bodies.model_named(body) if context.config.models else ""
    )
