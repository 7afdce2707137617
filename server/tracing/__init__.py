"""Spans of OpenTelemetry: made of ended requests, and exported where that is switched on.

What turns an entry into spans comes in, and what sends them; no content of a request does.
"""
