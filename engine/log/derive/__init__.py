"""Makes other logs of a log: a file of some of its streams, and the log without them.

What copies, masks or erases whole streams comes in, with the files that takes; what a stream was,
and how it is shown, does not.
"""
