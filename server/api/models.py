"""`/v1/models`: the names that a request may have as its model."""

import msgspec

from engine import slices
from engine.routing import fleet as routing
from server.api.call import Call
from server.context import Context
from server.http.errors import ApiError
from server.keys.keyring import Grant


async def models(context: Context, call: Call) -> None:
    """Answer `GET /v1/models` with every name that is listed and that the key may ask for."""
    listing = _listed(context, call.caller.grant)
    listed = await slices.in_slices(listing)  # an upstream may have thousands
    call.answer(200, {"object": "list", "data": listed})


def _listed(context: Context, grant: Grant) -> slices.Steps[list[msgspec.Raw]]:
    listed: list[msgspec.Raw] = []
    for name in context.fleet.listed():
        if grant.allows(name) and (target := context.fleet.resolve(name)) is not None:
            listed.append(_model(context, target))
        yield
    return listed


async def model(context: Context, call: Call) -> None:
    """Answer `GET /v1/models/{id}` with one name."""
    target = context.fleet.resolve(call.tail)
    if target is None or not call.caller.grant.allows(call.tail):
        message = f"The model '{call.tail[:200]}' does not exist."
        raise ApiError("model_not_found", message, "model")
    call.answer(200, _model(context, target))


def _model(context: Context, target: routing.Target) -> msgspec.Raw:
    """The object of the API; what its worker knows of the model beyond it comes behind."""
    card = target.worker.describe(target.model)
    own = {
        "id": target.name,
        "object": "model",
        "created": context.started if card.created is None else card.created,
        "owned_by": card.owned_by or target.worker.kind.models_owner,
    }
    encoded = msgspec.json.encode(own)
    if card.members == b"{}":
        return msgspec.Raw(encoded)
    return msgspec.Raw(encoded[:-1] + b"," + card.members[1:])
