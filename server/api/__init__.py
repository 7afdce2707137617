"""The parts that every endpoint shares: gates, options, the start of an answer, the sink of its
bytes.

What both the Chat Completions and the Responses API need comes in; it imports neither.
"""
