"""`/admin/logging`: an operator has the streams of one key logged otherwise for some minutes."""

from typing import Final, Literal

import msgspec

from server import logcontent
from server.api.call import Call
from server.context import Context
from server.http import decoding
from server.http.decoding import invalid
from server.ops import admin


class _Asked(msgspec.Struct, frozen=True):
    """The body of a `PUT`. `usual` ends what was asked for before."""

    content: Literal["full", "masked", "usual"]
    key: str | None = None
    minutes: logcontent.Minutes | None = None


_asked: Final = msgspec.json.Decoder(_Asked)


async def log_content(context: Context, call: Call) -> None:
    """Answer `GET` and `PUT /admin/logging` with what is logged otherwise, and until when.

    Raises:
        ApiError: `invalid_request` with the member at fault.
    """
    if call.exchange.request.method == "PUT":
        asked = await admin.read(call, _asked, _Asked.__struct_fields__)
        context.log_content.change(_read(context, asked), **admin.author(call))
    call.answer(200, context.log_content.status())


def _read(context: Context, asked: _Asked) -> logcontent.Override | None:
    if asked.content == "usual":
        for name in ("key", "minutes"):
            if getattr(asked, name) is not None:
                raise invalid(name, "'usual' is for all streams, and for good")
        return None
    if context.log_content.usual == "off":
        raise invalid("content", "there is no event log: PROXY_EVENT_LOG is off")
    if asked.minutes is None:
        raise decoding.missing("minutes")
    known = [name for name in context.keyring.grants if name]
    if asked.key is not None and asked.key not in known:
        names = f"there is only {known[0]!r}" if len(known) == 1 else f"it has {len(known)}"
        raise invalid("key", f"no key has this name; {names if known else 'this server has none'}")
    return logcontent.Override(asked.content, asked.key, asked.minutes)
