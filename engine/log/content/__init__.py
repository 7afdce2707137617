"""The words of clients and models as the log keeps them: masked, in outline, or as a digest.

What decides that comes in; it sees events and requests, never a segment.
"""
