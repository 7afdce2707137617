"""The Codex app-server as a worker: its processes, its threads, its turns, its tool calls.

At the top are the workers that other rooms see, as `Worker`s, and the login; below them what they
are made of. All that knows Codex comes in, and nothing else; it imports neither the other worker
nor the log.
"""
