"""Logs and transcripts: made, damaged, and read back.

What writes or spoils files as the event log would comes in.
"""
