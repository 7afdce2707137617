"""Requests as the server reads them, of any size and kind."""
