"""Keeps a log's files as their one writer: locks, repairs, writes, seals and deletes them.

What changes a file comes in; it is handed records as bytes and does not look into them.
"""
