"""Summaries of what the log's segments hold: one row for each request that has ended.

What makes, keeps or reads a row comes in; a row is made of the log's records and of nothing else.
"""
