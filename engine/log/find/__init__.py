"""Finds streams in a log: which there are, which one an id means, and the records of one.

What reads summaries and segments to answer that comes in; what it finds is told as rows and
records, and nothing here says what they mean.
"""
