"""The process that the server runs in: its loop, its signals, its end."""
