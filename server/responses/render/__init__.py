"""Answers of the Responses API: what outputs become, as events and as one body.

What turns outputs into bytes comes in; it knows no store, and of a request only what it repeats.
"""
