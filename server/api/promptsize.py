"""The size of a prompt, by which its tokens are estimated where a turn is cut here.

Only what is text counts: of messages, of calls and their results, of tools. An image or a file
counts nothing, since its bytes say nothing of its tokens.
"""

from engine import slices, worker
from server.api.options import AnswerOptions


def of_prompt(options: AnswerOptions) -> slices.Steps[int]:
    """Return the UTF-8 bytes of a request's prompt, whichever form it is in."""
    if not options.messages:
        return options.body_bytes
    size = 0
    for message in options.messages:
        for part in message.parts:
            if isinstance(part, worker.TextPart | worker.RefusalPart):
                size += utf8(part.text)
                yield
        for call in message.calls:
            size += utf8(call.name) + utf8(call.arguments)
            yield
        yield
    for tool in options.tools:
        schema = memoryview(tool.parameters).nbytes if tool.parameters is not None else 0
        size += utf8(tool.name) + utf8(tool.description) + schema
        yield
    return size


def of_prompts(options: AnswerOptions) -> slices.Steps[tuple[int, ...]]:
    """Return the same of each prompt that a request has."""
    sizes: tuple[int, ...] = ()
    for prompt in options.prompts or (options,):
        sizes += ((yield from of_prompt(prompt)),)
    return sizes


def utf8(text: str) -> int:
    """Return how many bytes a text has."""
    return len(text) if text.isascii() else len(text.encode())
