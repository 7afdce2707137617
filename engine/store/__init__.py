"""Responses that clients ask for again: what is kept of them, and in which file."""
