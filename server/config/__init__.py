"""The settings: how each is declared, read, explained and refused.

Everything that an operator can set is declared here; the shape of a request is not known here.
"""
