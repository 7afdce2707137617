"""Responses that outlive their request: kept in the store, and followed while they are made.

What keeps an answer or hands it out comes in; it may know how answers are rendered.
"""
