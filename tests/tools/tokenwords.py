"""What happens to a token in each function on its trip: the sentences of `docs/token-path.md`.

A function that the trip enters twice has one sentence, which is true of both.
"""

from typing import Final

WORDS: Final[dict[str, str]] = {
    # take
    "Process.pipe_data_received": "one read of the child's stdout comes in",
    "ReadCoalescer.on_read": "counts its lines: on a pipe of more than 5,000 a second, the next "
    "read waits a millisecond",
    "AppServer.received": "hands the read to the channel, as a wake-up",
    "Wakeups.read": "has the read taken, and ends the wake-up after it",
    "Channel.feed": "takes all lines of the read",
    "LineSplitter.feed": "cuts the read into lines of any length, and keeps the start of the next",
    "Channel._take_lines": "knows the line of a token by how it begins",
    "Dispatcher.text_delta": "decodes the line in one pass; the thread's id finds the turn",
    "TurnReader.text_delta": "makes it a `TextDelta`, for the feed of its stream",
    "Pump.event": "has a text that the machine passes as it is wait; steps the machine for any "
    "other event",
    "Stream.passes": "says whether the answer to a text is that text, and changes nothing",
    "Wakeups.join_with_texts": "remembers whose texts wait for the end of the wake-up",
    # flush
    "Wakeups._end": "ends the wake-up: texts, records, bytes, each of every stream",
    "Pump.flush_texts": "has the stream's texts recorded and rendered, in order, if any wait",
    "StreamLog.append_texts": "makes a record a text, ready but for its place in a segment",
    "wall_clock": "tells the time, in microseconds since the epoch",
    "join_masked": "masks the texts for the log and encodes them, all at once",
    "between": "puts what stands between two records or frames in place of a list's commas",
    "Times.saw_event": "notes that the worker is alive",
    "Sink.take_texts": "has the texts rendered, and keeps the frames",
    "ChatChunks.contents": "makes a frame of each text: a prefix from when the stream opened, the "
    "text as JSON, a suffix",
    "join": "encodes the texts, all at once",
    "EventLog.flush": "has every record that waits, of every stream, written",
    "EventLog._attempt": "tries to; a failure is the log's own, not the stream's",
    "EventLog._write": "loses a record that can never be written, and with it its stream's log",
    "SegmentWriter.append": "sees whether the records fit in the segment",
    "numbered": "gives each record its place in the segment and its checksum",
    "SegmentWriter._write": "takes back what a failed write left in the file",
    "LiveSegment.write": "one `write(2)`",
    "Sink.collect": "hands over what the wake-up made of the body",
    "Sink._join": "joins the frames",
    "BodyDigest.update": "adds them to the hash of the body",
    "EventLog.when_durable": "waits for the disk, where the policy says so",
    "Wakeups._now_safe": "sends the groups whose records are as safe as they must be",
    "Wakeups._send": "has each stream of a group send its part",
    "Sink.send": "gives the part to the response, if it follows on what was sent before",
    "Exchange.write": "one h11 `Data`, one chunk",
    "Outbound.transmit": "one `send(2)`; what does not fit waits, and is watched",
}
"""Keyed by function."""
