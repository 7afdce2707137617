"""Reads the fields about tools: `tools` and `functions`, and how to choose among them."""

from collections.abc import Iterable

import msgspec

from engine import slices, worker
from server.chat import request as chatbodies
from server.http import decoding


class Wanted(msgspec.Struct, frozen=True):
    """The tools of a request, and how it wants them to be called.

    Attributes:
        tools: what the model may call, after the choice, in the order they were declared.
        required: whether an answer without a call is none.
        parallel: whether the client takes more than one call of a step.
        legacy: whether calls are answered as `function_call`.
        ignored: entries of `tools` that are no functions, such as `tools[2]`.
    """

    tools: tuple[worker.Tool, ...] = ()
    required: bool = False
    parallel: bool = True
    legacy: bool = False
    ignored: tuple[str, ...] = ()


class Choice(msgspec.Struct, frozen=True):
    """A client's choice among its tools.

    Attributes:
        names: of the functions it may call; None: of every one.
        required: whether it must call one.
    """

    names: frozenset[str] | None = None
    required: bool = False


NONE = Choice(frozenset())
"""The choice by which the model must not call anything."""


def read(request: chatbodies.ChatRequest, parallel: bool) -> Wanted:
    """Read the fields about tools.

    Args:
        parallel: whether calls may be parallel where the request does not say.

    Raises:
        ApiError: `invalid_request` with the field at fault, for a name declared twice, for
            `functions` beside `tools`, and for a choice that nothing declared can satisfy.
    """
    entries = list(enumerate(request.tools or ()))
    legacy = bool(request.functions)
    if legacy and entries:
        raise decoding.invalid("functions", "it must not stand beside 'tools'")
    tools = declared(
        (f"tools[{index}].function", entry.function)
        for index, entry in entries
        if entry.function is not None
    )
    functions = declared(
        (f"functions[{index}]", function) for index, function in enumerate(request.functions or ())
    )
    choice = _choice(request.tool_choice)
    call_choice = _choice(request.function_call)
    chosen = choose(tools, choice, "tool_choice", "tools")
    called = choose(functions, call_choice, "function_call", "functions")
    asked = request.parallel_tool_calls
    return Wanted(
        tools=(*chosen, *called),
        required=choice.required or call_choice.required,
        # A legacy answer has room for one call.
        parallel=not legacy and (parallel if asked is None else asked),
        legacy=legacy,
        ignored=tuple(f"tools[{index}]" for index, entry in entries if entry.function is None),
    )


def declared(
    functions: Iterable[tuple[str, chatbodies.DeclaredFunction]],
) -> dict[str, worker.Tool]:
    """Return the functions by their names, each given with its path in the request.

    Raises:
        ApiError: for a name declared twice.
    """
    found: dict[str, worker.Tool] = {}
    for path, function in functions:
        if function.name in found:
            raise decoding.invalid(f"{path}.name", f"'{function.name}' is declared twice")
        parameters = None
        if function.parameters is not None:
            parameters = msgspec.Raw(msgspec.json.encode(function.parameters))
        found[function.name] = worker.Tool(function.name, function.description or "", parameters)
    return found


def choose(
    tools: dict[str, worker.Tool], choice: Choice, field: str, among: str
) -> tuple[worker.Tool, ...]:
    """Return the tools that a choice leaves.

    Args:
        field: of the choice, named in a refusal; so is `among`, the field of what was declared.

    Raises:
        ApiError: for a choice that they cannot satisfy.
    """
    names = tools.keys() if choice.names is None else choice.names
    if unknown := names - tools.keys():
        raise decoding.invalid(field, f"no function '{min(unknown)}' is in '{among}'")
    if choice.required and not names:
        raise decoding.invalid(field, f"it leaves no function of '{among}' to call")
    return tuple(tool for name, tool in tools.items() if name in names)


def calls(message: chatbodies.ChatMessage) -> slices.Steps[tuple[worker.Call, ...]]:
    """Return the calls that an assistant message made; the id of a legacy one is its function's
    name."""
    found = []
    for call in message.tool_calls or ():
        if call.function is not None:
            found.append(_call(call.id, call.function))
        elif call.custom is not None:
            found.append(worker.Call(call.id, call.custom.name, call.custom.input or ""))
        yield
    if message.function_call is not None:
        found.append(_call(message.function_call.name, message.function_call))
    return tuple(found)


def _call(call_id: str, called: chatbodies.CalledFunction) -> worker.Call:
    return worker.Call(call_id, called.name, called.arguments or "")


def _choice(choice: chatbodies.ToolChoice | chatbodies.FunctionChoice | None) -> Choice:
    match choice:
        case None | "auto":
            return Choice()
        case "required" | "any":
            return Choice(required=True)
        case "none":
            return NONE
        case chatbodies.NamedFunction(name) | chatbodies.NamedTool(chatbodies.NamedFunction(name)):
            return Choice(frozenset((name,)), required=True)
        case chatbodies.AllowedChoice(allowed):
            named = (entry.function.name for entry in allowed.tools if entry.function is not None)
            return Choice(frozenset(named), allowed.mode == "required")
