"""The body of an upstream's answer: an event stream, or a completion in one piece."""

from engine import chunks, upstreamerrors
from machines import errors, eventsource


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

    def feed(self, data: bytes) -> chunks.Said:
        """What these bytes say."""
        if self._source is None and not self._whole:
            data = data.lstrip()
            if data and not data.startswith((b"{", b"[")):
                self._source = eventsource.EventSource()
        if self._source is not None:
            return self._take(self._source, data)
        self._whole += data
        if len(self._whole) > eventsource.MAX_EVENT_BYTES:
            return self._reader.fail(upstreamerrors.TOO_LARGE)
        return []

    def end(self) -> chunks.Said:
        """What it means that the body ends here, as it should."""
        if self._source is None:
            return self._end_whole()
        said: chunks.Said = []
        try:
            for event in self._source.end():
                said += self._reader.take(event)
        except errors.TooLarge:
            return said + self._reader.fail(upstreamerrors.TOO_LARGE)
        except chunks.UpstreamDecodeError:
            pass  # the last event was cut off: what is missing is the end, not a brace
        if self._reader.stage is chunks.Stage.SILENT and not self._is_event_stream:
            return self._reader.fail(upstreamerrors.NO_ANSWER)
        return said + self._reader.close()

    def _take(self, source: eventsource.EventSource, data: bytes) -> chunks.Said:
        said: chunks.Said = []
        try:
            for event in source.feed(data):
                said += self._reader.take(event)
        except errors.TooLarge:
            said += self._reader.fail(upstreamerrors.TOO_LARGE)
        except chunks.UpstreamDecodeError as error:
            said += self._reader.garbled(error.data)
        return said

    def _end_whole(self) -> chunks.Said:
        if not self._whole and self._is_event_stream:
            return self._reader.close()
        try:
            return self._reader.take_body(bytes(self._whole))
        except chunks.UpstreamDecodeError:
            return self._reader.fail(upstreamerrors.NO_ANSWER)
