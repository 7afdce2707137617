"""The I/O that feeds the machines, and keeps what they did.

At the top are the protocol that every worker keeps and what all rooms use: failures, redaction,
slices of long work. Nothing here knows HTTP requests or the configuration; what is set is passed
in.
"""
