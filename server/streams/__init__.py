"""`/v1/streams/{id}`: the log of one request, for whoever made it.

What hands records out as they are on disk comes in; what they mean is said elsewhere, and nothing
here changes or leaves out a byte of them.
"""
