"""The event log: what becomes a record, how it is kept on disk, and how it is read back.

At the top are the log as other rooms see it, what it keeps of a stream and of a process, and its
replay; the rest has a room below. What writes, masks, checks, repairs or replays records comes in;
it decides nothing for a stream.
"""
