"""The event log: what becomes a record, how it is kept on disk, and how it is read back.

What writes, masks, checks, repairs or replays records comes in; it decides nothing for a stream.
"""
