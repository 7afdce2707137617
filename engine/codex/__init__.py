"""The Codex app-server as a worker: its processes, its threads, its turns, its tool calls.

All that knows Codex comes in, and nothing else: other rooms see a `Worker`. It imports neither
the other worker nor the log.
"""
