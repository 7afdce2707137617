"""One turn of Codex, and the thread that it runs in.

What happens to either comes in as the name of an event, and what to do about it goes out.
"""
