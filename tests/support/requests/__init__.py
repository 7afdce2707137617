"""Requests as the server reads them, of any size and kind.

What makes the body of a request comes in; sending it is the client's.
"""
