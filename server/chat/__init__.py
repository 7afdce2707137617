"""`/v1/chat/completions`: its requests, and its answers as a stream and as a body.

What spells a request or an answer of this API comes in.
"""
