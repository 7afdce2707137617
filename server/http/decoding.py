"""JSON from a client as typed fields, or a refusal that names the path of the field at fault."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from machines import parse
from server.http import mismatch
from server.http.errors import ApiError
from server.http.mismatch import Missing as Missing

T = TypeVar("T")

ABSENT: Final = msgspec.Raw(b"null")
"""Stands in for a raw value that is absent: msgspec reads `Raw | None` as None alone."""

IGNORED_MAX: Final = 20
"""Most names in `x-turntape-ignored`, so that the header stays one that proxies pass."""

MODEL_MAX: Final = 256
"""Most characters of a model's name: every chunk of an answer repeats it. The models file has the
same limit."""

ModelName = Annotated[str, Meta(max_length=MODEL_MAX)]

NOT_JSON: Final[dict[parse.Fault, str]] = {
    "encoding": "The body is not valid UTF-8.",
    "syntax": "The body could not be parsed as JSON.",
    "depth": f"The body is nested too deeply: more than {parse.MAX_DEPTH} levels.",
    "type": "The body must be a JSON object.",
}
"""The message of a 400 for a body that cannot be read at all, by its fault."""

_FIELD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def decode(
    decoder: msgspec.json.Decoder[T],
    data: bytes | msgspec.Raw,
    path: str = "",
    depth: int = parse.MAX_DEPTH,
) -> T:
    """Decode a body as the decoder's type, or the part of one that stands at `path`.

    Args:
        depth: levels it may have; less than `parse.MAX_DEPTH` for a part of a body.

    Raises:
        ApiError: `invalid_json`, or `invalid_request` with the path of the field at fault.
    """
    try:
        return parse.parse(data, decoder, depth)
    except parse.ParseError as error:
        if error.fault != "type":
            raise ApiError("invalid_json", NOT_JSON[error.fault]) from None
    raise wrong(decoder.type, data, path)


def decode_outer(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw) -> T:
    """Decode the outermost level of a part of a body; the values in it are left as they came.

    Raises:
        ApiError: `invalid_json`.
    """
    try:
        return parse.parse_outer(data, decoder)
    except parse.ParseError as error:
        raise ApiError("invalid_json", NOT_JSON[error.fault]) from None


def wrong(kind: object, data: bytes | msgspec.Raw, path: str) -> ApiError:
    """Make the refusal of JSON that is not of a type; it names the path of the field at fault."""
    try:
        found = mismatch.find(kind, parse.value(data), path)
    except parse.ParseError:  # a number with thousands of digits
        found = None
    if found is None:
        # Or a member stands there twice, and only the first of them is wrong.
        return ApiError("invalid_request", "A number of the body is out of range.", path or None)
    return refusal(found) if found.path else ApiError("invalid_json", NOT_JSON["type"])


def refusal(found: mismatch.Mismatch) -> ApiError:
    """Make the refusal of a field that is not what it should be."""
    return ApiError("invalid_request", found.message, found.path)


def too_long(path: str, limit: int) -> ApiError:
    """Make the refusal of an array with more items than are read."""
    wanted = f"an array with maximum length {limit}"
    found = mismatch.out_of_range(path or "body", "array too long", wanted, "a longer array")
    return ApiError("array_above_max_length", found.message, path or None)


def too_many_members(path: str, limit: int) -> ApiError:
    """Make the refusal of an object with more members than are read."""
    wanted = f"an object with at most {limit} properties"
    problem = "too many properties"
    found = mismatch.out_of_range(path or "body", problem, wanted, "a larger object")
    return ApiError("object_above_max_properties", found.message, path or None)


def check_count(path: str, count: int, limit: int) -> None:
    """Refuse an array of more items than the limit.

    Raises:
        ApiError: `array_above_max_length`.
    """
    if count > limit:
        raise too_long(path, limit)


def is_active(value: msgspec.Raw) -> bool:
    """Return whether a raw value is there: `null` means absent."""
    return value != ABSENT


def unknown(fields: Mapping[str, msgspec.Raw], known: Iterable[str]) -> tuple[str, ...]:
    """Return the names of active fields that are not known, as far as they are fit for a
    header."""
    others = fields.keys() - set(known)
    return tuple(
        name
        for name, value in fields.items()
        if name in others and is_active(value) and _FIELD_NAME.fullmatch(name)
    )[:IGNORED_MAX]


def model_of(model: str | None) -> str:
    """Return the model that a request names.

    Raises:
        ApiError: `model_required`, or `invalid_request` for a name that is none.
    """
    if not model:
        raise ApiError("model_required", "You must provide a model parameter.", "model")
    if len(model) > MODEL_MAX and (found := mismatch.find(ModelName, model, "model")) is not None:
        raise refusal(found)
    return model


def missing(path: str) -> ApiError:
    """Make the refusal of a request that lacks a field."""
    return ApiError("invalid_request", mismatch.missing(path).message, path)


def invalid(path: str, why: str) -> ApiError:
    """Make the refusal of a field's value; `why` is a clause."""
    return ApiError("invalid_request", f"Invalid value for '{path}': {why}.", path)


def unsupported(name: str) -> ApiError:
    """Make the refusal of a parameter that asks for what this server does not have."""
    message = f"Unsupported parameter: '{name}' is not supported by this server."
    return ApiError("unsupported_parameter", message, name)
