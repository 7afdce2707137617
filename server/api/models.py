"""`/v1/models`: the names that a request may have as its model."""

from engine.routing import fleet as routing
from server.api.call import Call
from server.context import Context
from server.http.errors import ApiError


async def models(context: Context, call: Call) -> None:
    """Answer `GET /v1/models` with every name that is listed."""
    targets = filter(None, map(context.fleet.resolve, context.fleet.listed()))
    listed = [_model(context, target) for target in targets]
    call.answer(200, {"object": "list", "data": listed})


async def model(context: Context, call: Call) -> None:
    """Answer `GET /v1/models/{id}` with one name."""
    target = context.fleet.resolve(call.tail)
    if target is None:
        message = f"The model '{call.tail[:200]}' does not exist."
        raise ApiError("model_not_found", message, "model")
    call.answer(200, _model(context, target))


def _model(context: Context, target: routing.Target) -> dict[str, object]:
    return {
        "id": target.name,
        "object": "model",
        "created": context.started,
        "owned_by": target.worker.kind.models_owner,
    }
