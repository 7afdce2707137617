"""Masks records of a full log as a masked log would have had them.

What the machine and its scanners decided stands in the records of either kind of log, so it stays
as it was recorded: a replay of the masked records goes by it. It is never decided anew, for then a
stream that shows a bug would be exported without it.
"""

import os
from collections.abc import Iterator
from typing import Final, get_args

import msgspec

from engine import redaction, slices
from engine.log import streamlog
from engine.log.content import digest, keptrequest
from engine.log.format import records
from engine.log.read import segments
from machines import events, outputs, parse

_MASKED: Final = streamlog.keeping("masked", redaction.NONE)

_OUTPUTS: Final = {kind.__struct_config__.tag: kind for kind in get_args(outputs.AnyOutput)}

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


class Masking:
    """Masks the records of the streams of one export.

    What a full log left out of a large request it has a digest of, which somebody could guess the
    text by. It is hashed again, with a key that nobody keeps: of two requests in the export it can
    still be told whether they had the same.
    """

    def __init__(self) -> None:
        self._key = os.urandom(digest.HASH_BYTES)

    def rest(self, record: segments.Record) -> bytes:
        """Return the masked record from its event on, without its checksum.

        Raises:
            LaterVersion: this version does not know what in it is a text.
        """
        event = self._masked(record.load())
        members = _encode(event)[1:-1]
        members += records.outcome(record.state, _kinds(record), record.states)
        if record.decision is not None:
            members += _MASKED.decision(record.decision)
        return members

    def _masked(self, event: segments.LoggedEvent) -> events.StreamEvent:
        masked = _MASKED.event(event)
        if not isinstance(masked, events.Opened) or not isinstance(event, events.Opened):
            return masked
        # Its records say as much of each step as they did.
        return msgspec.structs.replace(
            masked, schema=event.schema, request=self._request(event.request)
        )

    def _request(self, request: msgspec.Raw) -> msgspec.Raw:
        try:
            members = parse.parse_outer(request, _MEMBERS)
        except parse.ParseError:  # nothing was kept
            return request
        return slices.at_once(keptrequest.mask(members, self._key))


def _kinds(record: segments.Record) -> Iterator[type[outputs.AnyOutput]]:
    for tag in record.out:
        kind = _OUTPUTS.get(tag)
        if kind is None:
            raise segments.LaterVersion(f"{record.event}: the output {tag}")
        yield kind
