"""One stream as somebody who asks what went wrong wants it: its records, folded.

What turns records into facts comes in; how facts are shown, and where, does not.
"""
