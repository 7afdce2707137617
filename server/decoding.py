"""JSON from a client as typed fields, or a refusal that names the path of the field at fault."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from server.errors import ApiError

T = TypeVar("T")

MISSING: Final = "Object missing required field `{}`"
"""What msgspec says of it, for what no type can say."""

ABSENT: Final = msgspec.Raw(b"null")
"""In place of a raw value that is not there: msgspec reads `Raw | None` as None alone."""

IGNORED_MAX: Final = 20
"""Names in `x-turntape-ignored` at most: a header must stay a header."""

_FIELD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_COMPLAINT: Final = re.compile(r"^(?P<text>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)


def decode(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, path: str = "") -> T:
    """A body as the decoder's type, or the part of one that stands at `path`.

    Raises:
        ApiError: `invalid_json`, or `invalid_request` with the path of the field at fault.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), path) from None
    except msgspec.DecodeError:
        message = "The body could not be parsed as JSON."
    except UnicodeDecodeError:
        message = "The body is not valid UTF-8."
    except RecursionError:
        message = "The body is nested too deeply."
    raise ApiError("invalid_json", message)


def is_active(value: msgspec.Raw) -> bool:
    """Whether a raw value is there: `null` means absent."""
    return bytes(value) != bytes(ABSENT)


def unknown(fields: Mapping[str, msgspec.Raw], known: Iterable[str]) -> tuple[str, ...]:
    """Names of the active fields that are not known, as far as they are fit for a header."""
    others = fields.keys() - set(known)
    return tuple(
        name
        for name, value in fields.items()
        if name in others and is_active(value) and _FIELD_NAME.fullmatch(name)
    )[:IGNORED_MAX]


def model_of(model: str | None) -> str:
    """The model that was named.

    Raises:
        ApiError: `model_required`.
    """
    if not model:
        raise ApiError("model_required", "You must provide a model parameter.", "model")
    return model


def missing(path: str) -> ApiError:
    """The refusal of a request that lacks a field."""
    return ApiError("invalid_request", f"Missing required parameter: '{path}'.", path)


def invalid(path: str, why: str) -> ApiError:
    """The refusal of a field's value; `why` is a clause."""
    return ApiError("invalid_request", f"Invalid value for '{path}': {why}.", path)


def unsupported(name: str) -> ApiError:
    """The refusal of a parameter that asks for what this server does not have."""
    message = f"Unsupported parameter: '{name}' is not supported by this server."
    return ApiError("unsupported_parameter", message, name)


def _invalid(text: str, base: str) -> ApiError:
    """`Expected `str`, got `int` - at `$.messages[2].role`` as the API would say it."""
    match = _COMPLAINT.match(text)
    assert match is not None
    absent = re.search(r"missing required field `(\w+)`", match["text"])
    path = ".".join(filter(None, (base, match["path"], absent and absent[1])))
    if absent:
        return missing(path)
    if not path:
        return ApiError("invalid_json", "The body must be a JSON object.")
    return invalid(path, f"{match['text'][:1].lower()}{match['text'][1:]}".replace("`", "'"))
