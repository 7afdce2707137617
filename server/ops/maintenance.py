"""`/admin/maintenance`: an operator begins, changes and ends a maintenance."""

import datetime
from typing import Final

import msgspec

from server import maintenance
from server.api.call import Call
from server.context import Context
from server.http.decoding import invalid
from server.http.errors import ApiError
from server.ops import admin


class _Asked(msgspec.Struct, frozen=True):
    """The body of a `PUT`; what is left out is as if it were `null`."""

    enabled: bool
    message: maintenance.Message | None = None
    retry_after_s: maintenance.RetryAfter | None = None
    until: str | None = None
    persist: bool | None = None


_asked: Final = msgspec.json.Decoder(_Asked)

_DETAILS: Final = _Asked.__struct_fields__[1:]
"""Members that say how a maintenance is."""


async def maintain(context: Context, call: Call) -> None:
    """Answer `GET` and `PUT /admin/maintenance` with the maintenance that is in force.

    Raises:
        ApiError: `invalid_request` with the member at fault, or `maintenance_not_kept`.
    """
    if call.exchange.request.method == "PUT":
        asked = await admin.read(call, _asked, _Asked.__struct_fields__)
        window = _window(context, asked)
        try:
            await context.maintenance.change(window, **admin.author(call))
        except OSError:
            message = "The change cannot be kept over a restart, and nothing was changed."
            raise ApiError("maintenance_not_kept", message, "persist") from None
    call.answer(200, context.maintenance.status())


def _window(context: Context, asked: _Asked) -> maintenance.Window | None:
    """Return the window that is asked for."""
    if not asked.enabled:
        for name in _DETAILS:
            if getattr(asked, name) is not None:
                raise invalid(name, "it needs 'enabled' to be true")
        return None
    message = asked.message or maintenance.MESSAGE
    return maintenance.Window(
        since=context.maintenance.instant(),
        message=context.known.hide(message),
        retry_after_s=asked.retry_after_s,
        until=None if asked.until is None else _end(context, asked.until),
        persist=asked.persist is True,
    )


def _end(context: Context, text: str) -> datetime.datetime:
    """Read the end of a maintenance, which is in the future and has a zone."""
    try:
        given = datetime.datetime.fromisoformat(text)
        end = given.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        given = None
    if given is None or given.tzinfo is None:
        raise invalid("until", "it must be a time with a zone, such as 2026-01-31T12:00:00Z")
    now = context.maintenance.instant()
    if end <= now:
        raise invalid("until", "it has passed")
    if end > now + maintenance.LONGEST:
        raise invalid("until", "it is more than a year ahead")
    return end
