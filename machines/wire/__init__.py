"""Lines, JSON-RPC messages and server-sent events, from any split of their bytes.

A format of bytes comes in that worker and server exchange; what its messages mean does not.
"""
