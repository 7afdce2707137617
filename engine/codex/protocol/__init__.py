"""The pipe to an app-server: requests, replies, notifications, and their lines.

A shape of the protocol comes in, and what carries lines; what they mean for a turn does not.
"""
