"""The trace that every request leaves: who asked for what, and what became of it.

What is written of a request as a whole comes in; what is written of a stream is the event log's.
"""
