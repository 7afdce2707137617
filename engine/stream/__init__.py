"""A stream in motion: its worker's events to its machine, then to the log, then to its sink.

What moves every stream comes in, whatever its worker and its endpoint: workers are seen through
the protocol, bytes are the sink's.
"""
