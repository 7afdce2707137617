"""Clients that see bytes: HTTP as it is sent, and what its streams fold into.

A way to ask the server comes in, and a check of what it sent; requests have a folder of their own.
"""
