"""The body of an upstream's answer: an event stream, or a completion in one piece."""

from typing import Final

from engine.upstream import chunks, decoding, errors as upstreamerrors
from engine.upstream.chunkfields import Batches
from machines import errors
from machines.wire import eventsource

SLICE_BYTES: Final = 1 << 14
"""Bytes of an event stream that are cut into lines in one go."""


class AnswerBody:
    """A response's body, whichever of its two forms it has.

    Args:
        is_event_stream: whether it is labelled as one; what counts is how it begins.
    """

    def __init__(self, reader: chunks.ChunkReader, is_event_stream: bool) -> None:
        self._reader = reader
        self._is_event_stream = is_event_stream
        self._source: eventsource.EventSource | None = None
        self._whole = bytearray()

    def feed(self, data: bytes) -> Batches:
        """Yield the events that these bytes make; read them to the end before the next are fed."""
        if self._source is None and not self._whole:
            data = data.lstrip()
            if data and not data.startswith((b"{", b"[")):
                self._source = eventsource.EventSource()
        if self._source is None:
            self._whole += data
            if len(self._whole) > eventsource.MAX_EVENT_BYTES:
                yield self._reader.fail(upstreamerrors.TOO_LARGE)
            return
        try:
            for start in range(0, len(data), SLICE_BYTES):
                for event in self._source.feed(data[start : start + SLICE_BYTES]):
                    yield from self._reader.take(event)
                yield None
        except errors.TooLarge:
            yield self._reader.fail(upstreamerrors.TOO_LARGE)
        except decoding.UpstreamDecodeError as error:
            yield self._reader.garbled(error.data)

    def end(self) -> Batches:
        """Yield the events of a body that ends here, as HTTP framing says it should."""
        if self._source is None:
            yield from self._end_whole()
            return
        try:
            for event in self._source.end():
                yield from self._reader.take(event)
        except errors.TooLarge:
            yield self._reader.fail(upstreamerrors.TOO_LARGE)
            return
        except decoding.UpstreamDecodeError:
            pass  # the last event was cut off: what is missing is the end, not a brace
        if self._reader.stage is chunks.Stage.SILENT and not self._is_event_stream:
            yield self._reader.fail(upstreamerrors.NO_ANSWER)
        else:
            yield self._reader.close()

    def _end_whole(self) -> Batches:
        if not self._whole and self._is_event_stream:
            yield self._reader.close()
            return
        try:
            yield from self._reader.take_body(bytes(self._whole))
        except decoding.UpstreamDecodeError:
            yield self._reader.fail(upstreamerrors.NO_ANSWER)
