"""`POST /v1/chat/completions`: from a body to an answer."""

from typing import Final

import msgspec

from engine import routing
from machines import events
from server import answering, asked, bodies, passedon
from server.context import Context
from server.gates import Caller, Headers, check_life
from server.http import Exchange

API: Final = answering.Api(events.CHAT, "chatcmpl-", "messages", may_be_empty=True)
"""What sets its answers apart."""


async def complete(context: Context, exchange: Exchange, caller: Caller, headers: Headers) -> None:
    """Answer one chat completion request.

    Args:
        headers: of every answer to this request.

    Raises:
        ApiError: for everything that is wrong with the request itself.
    """
    body = await exchange.request.body()
    check_life(context)  # which may have changed while the body came

    def read(target: routing.Target) -> asked.Asked:
        request = bodies.with_defaults(body, target.defaults)
        reader = passedon.read if target.worker.name == "upstream" else asked.read
        wanted = reader(request, exchange.request.headers, context.config)
        return msgspec.structs.replace(wanted, body=request)

    wanted = read(_target(context, body))
    ask = answering.Ask(exchange, caller, headers, body)
    await answering.answer(context, ask, wanted, API, read)


def _target(context: Context, body: bytes) -> routing.Target:
    """The target that decides what of a request is read; nobody's name is the default's to refuse.

    Without rules for models there is but one, and a body need not be read twice.
    """
    model = bodies.model_named(body) if context.config.models else ""
    return context.fleet.resolve(model) or routing.Target(model, context.worker, model)
