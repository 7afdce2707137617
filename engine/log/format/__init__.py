"""The form of a log's files: a line with its checksum, a record's members, the chain of segments.

A shape that is written to a file comes in, with how it is encoded; what opens a file does not.
"""
