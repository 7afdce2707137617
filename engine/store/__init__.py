"""The responses that clients ask for again: what is kept of them, and in which file.

An engine that keeps the protocol in `store.py` comes in; what a response looks like does not.
"""
