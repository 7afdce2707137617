"""The questions of operators and load balancers to a running server: its health, its metrics.

The state of any part comes in, read and never changed; nothing of a request's content does.
"""
