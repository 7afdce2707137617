"""What the log keeps of the words of clients and models: masked, in outline, or as a digest.

What decides that comes in; it sees events and requests, never a segment.
"""
