"""A client's request as Codex takes it: its conversation, its reasoning, its tools.

What translates a part of a request comes in; nothing here speaks with a process.
"""
