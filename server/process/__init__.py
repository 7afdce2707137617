"""The process that the server runs in: its loop, its signals, its watchdog, its exit statuses.

What the operating system sees of the program comes in; it knows no request and no stream.
"""
