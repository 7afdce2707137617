"""`POST /v1/completions`: from a body to an answer."""

import functools
from typing import Final

import msgspec

from engine import slices
from engine.routing import fleet as routing
from machines import events
from server.api import answering, opening
from server.api.call import Call
from server.api.incoming import receive
from server.api.options import AnswerOptions
from server.api.reply import Renderer
from server.chat import endpoint as chat, request as chatbodies
from server.completions import finish, request as completionbodies
from server.completions.fold import CompletionBody
from server.completions.stream import CompletionChunks
from server.context import Context
from server.http import decoding


def renderer(opened: events.Opened, echoed: tuple[bytes, ...] | None = None) -> Renderer:
    """Make the renderer of a completion's stream, for a live answer and for a replay.

    Args:
        echoed: the prompts that the answers begin with, as JSON; None in a replay, which has what
            the log kept of them.
    """
    prompts = finish.logged(opened.request) if echoed is None else echoed
    made = CompletionChunks if opened.streaming else CompletionBody
    return made(opened, prompts)


API: Final = opening.Api(
    events.COMPLETIONS, "cmpl-", "prompt", may_be_empty=True, repeats=False, renderer=renderer
)
"""The facts that set the answers of this endpoint apart."""


async def complete(context: Context, call: Call) -> None:
    """Answer `POST /v1/completions`.

    Raises:
        ApiError: for everything that is wrong with the request itself.
    """
    incoming = await receive(context, call)
    if incoming is None:
        return
    config, members = context.config, incoming.members
    headers = incoming.exchange.request.headers
    prompts = await slices.in_slices(
        completionbodies.parse(members, config.max_input_items, config.max_chat_choices)
    )
    is_alone = len(prompts.texts) == 1

    def read(target: routing.Target) -> slices.Steps[AnswerOptions]:
        reads = chat.READERS[target.worker.kind.request_form]
        found = []
        for text in prompts.texts:
            asked = completionbodies.chat_members(members, text, is_alone)
            request = chatbodies.with_defaults(asked, target.defaults)
            found.append((yield from reads(request, headers, config)))
        return _together(prompts, tuple(found))

    echoed = await slices.in_slices(finish.encoded(prompts.texts if prompts.echo else ()))
    if prompts.each * sum(map(len, echoed)) > config.max_body_bytes:
        message = f"the choices begin with more than {config.max_body_bytes} bytes together"
        raise decoding.invalid("echo", message)
    api = msgspec.structs.replace(
        API, repeats=prompts.echo, renderer=functools.partial(renderer, echoed=echoed)
    )
    await answering.answer(context, incoming, chatbodies.model_named(members), read, api)


def _together(prompts: completionbodies.Prompts, each: tuple[AnswerOptions, ...]) -> AnswerOptions:
    """Return the options of the whole request.

    Args:
        each: of the chat request that each prompt stands for.
    """
    several = len(each) > 1
    ignored = (*each[0].ignored, *prompts.ignored)[: decoding.IGNORED_MAX]
    return msgspec.structs.replace(
        each[0],
        n=prompts.each * len(each),
        choices_a_turn=1 if several else each[0].choices_a_turn,
        output_mode="openai-json",  # no tools are declared, so none is called in a text
        ignored=ignored,
        prompts=each if several else (),
    )
