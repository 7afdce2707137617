"""A server that speaks Chat Completions as a worker: its HTTP client, its turns, its errors.

All that knows upstreams comes in: their bodies, chunks, statuses. It imports neither the other
worker nor the log.
"""
