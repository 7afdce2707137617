"""The trials of `turntape smoke`: each asks a running deployment for one thing, as a client would.

What a client sees of the API comes in, and nothing of how this server makes it: a trial holds for
any server that speaks the same API.
"""
