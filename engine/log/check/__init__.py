"""Checks a whole log against today's code: every divergence, grouped by cause, on several cores.

What divides a log among processes, and puts together what they found, comes in; a stream is
replayed by `engine.log.replay`, and what is found is told by whoever asked.
"""
