"""Reads a log's segments back, and says what is missing, damaged or in another's place.

What looks at files comes in and changes none; what a record means to a stream does not.
"""
