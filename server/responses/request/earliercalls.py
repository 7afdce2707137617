"""Calls of earlier answers as the model made them: of the functions that it is offered.

A client sends them back as it was told them, by the namespace and in the kind of its own tools.
"""

from typing import Final

import msgspec

from engine import slices, worker
from machines import parse
from machines.tools import freetext
from server.responses.request import input_items, offered as offers

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read(
    item: input_items.FunctionCall | input_items.CustomCall, offered: offers.OfferedTools
) -> slices.Steps[worker.Call]:
    """Return a call by the name that its tool is offered by. The text of a custom tool is the one
    argument of its function; of one that is not offered, a JSON object is all the arguments."""
    name = offered.name(item.namespace, item.name)
    if isinstance(item, input_items.FunctionCall):
        return worker.Call(item.call_id, name, item.arguments)
    arguments = item.input
    if offered.takes_text(item.namespace, item.name) or not (yield from _is_object(arguments)):
        arguments = msgspec.json.encode({freetext.ARGUMENT: item.input}).decode()
    return worker.Call(item.call_id, name, arguments)


def _is_object(text: str) -> slices.Steps[bool]:
    """Return whether a text is a JSON object that is not too deep."""
    if (yield from parse.scan_depth(text)):
        return False
    try:
        parse.parse_outer(text, _members)
    except parse.ParseError:
        return False
    return True
