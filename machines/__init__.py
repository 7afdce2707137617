"""Pure state machines: bytes or events in, outputs back. No clock, no I/O, no randomness.

At the top are the lives of the server and of a worker process, and what the rooms share: events
and outputs of a stream, the compiler of tables, the one reader of JSON. What comes in can be
tested without an event loop; what happens outside reaches it as an event.
"""
