"""The turns on a process: begun, read, given results, parked, ended.

What a turn lives through comes in; the process that it runs on is passed in, as a channel.
"""
