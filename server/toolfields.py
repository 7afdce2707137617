"""What the fields about tools ask of an answer: `tools` and `functions`, and how to choose."""

from collections.abc import Iterable

import msgspec

from engine import worker
from server import bodies
from server.errors import ApiError


class Wanted(msgspec.Struct, frozen=True):
    """What a request asks about tools.

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


def read(request: bodies.ChatRequest, parallel: bool) -> Wanted:
    """What the request asks about tools.

    Args:
        parallel: whether calls may be parallel where the request does not say.

    Raises:
        ApiError: `invalid_request` with the field at fault, for a name declared twice, for
            `functions` beside `tools`, and for a choice that nothing declared can satisfy.
    """
    entries = list(enumerate(request.tools or ()))
    legacy = bool(request.functions)
    if legacy and entries:
        message = "Invalid value for 'functions': it must not stand beside 'tools'."
        raise ApiError("invalid_request", message, "functions")
    tools = _declared(
        (f"tools[{index}].function", entry.function)
        for index, entry in entries
        if entry.function is not None
    )
    functions = _declared(
        (f"functions[{index}]", function) for index, function in enumerate(request.functions or ())
    )
    chosen, required = _chosen(request.tool_choice, tools, "tool_choice", "tools")
    called, call_required = _chosen(request.function_call, functions, "function_call", "functions")
    asked = request.parallel_tool_calls
    return Wanted(
        tools=(*chosen, *called),
        required=required or call_required,
        # A legacy answer has room for one call.
        parallel=not legacy and (parallel if asked is None else asked),
        legacy=legacy,
        ignored=tuple(f"tools[{index}]" for index, entry in entries if entry.function is None),
    )


def calls(message: bodies.ChatMessage) -> tuple[worker.Call, ...]:
    """The calls an assistant message made; the id of a legacy one is its function's name."""
    found = []
    for call in message.tool_calls or ():
        if call.function is not None:
            found.append(_call(call.id, call.function))
        elif call.custom is not None:
            found.append(worker.Call(call.id, call.custom.name, call.custom.input or ""))
    if message.function_call is not None:
        found.append(_call(message.function_call.name, message.function_call))
    return tuple(found)


def _call(call_id: str, called: bodies.CalledFunction) -> worker.Call:
    return worker.Call(call_id, called.name, called.arguments or "")


def _declared(
    functions: Iterable[tuple[str, bodies.DeclaredFunction]],
) -> dict[str, worker.Tool]:
    """The functions by their names, each given with its path in the request."""
    found: dict[str, worker.Tool] = {}
    for path, function in functions:
        if function.name in found:
            param = f"{path}.name"
            message = f"Invalid value for '{param}': '{function.name}' is declared twice."
            raise ApiError("invalid_request", message, param)
        parameters = None
        if function.parameters is not None:
            parameters = msgspec.Raw(msgspec.json.encode(function.parameters))
        found[function.name] = worker.Tool(function.name, function.description or "", parameters)
    return found


def _chosen(
    choice: bodies.ToolChoice | bodies.FunctionChoice | None,
    declared: dict[str, worker.Tool],
    field: str,
    among: str,
) -> tuple[tuple[worker.Tool, ...], bool]:
    """The tools a choice leaves, and whether one must be called.

    Args:
        field: of the choice, named in a refusal; so is `among`, the field of what was declared.
    """
    names, required = _names(choice, declared)
    if unknown := names - declared.keys():
        message = f"Invalid value for '{field}': no function '{min(unknown)}' is in '{among}'."
        raise ApiError("invalid_request", message, field)
    if required and not names:
        message = f"Invalid value for '{field}': it leaves no function of '{among}' to call."
        raise ApiError("invalid_request", message, field)
    return tuple(tool for name, tool in declared.items() if name in names), required


def _names(
    choice: bodies.ToolChoice | bodies.FunctionChoice | None, declared: Iterable[str]
) -> tuple[frozenset[str], bool]:
    match choice:
        case None | "auto" | "required":
            return frozenset(declared), choice == "required"
        case "none":
            return frozenset(), False
        case bodies.NamedFunction(name) | bodies.NamedTool(bodies.NamedFunction(name)):
            return frozenset((name,)), True
        case bodies.AllowedChoice(allowed):
            named = (entry.function.name for entry in allowed.tools if entry.function is not None)
            return frozenset(named), allowed.mode == "required"
