"""Tool calls: which text and which fragments are calls, and what their arguments are.

A form in which models write calls comes in, as a scanner that is fed pieces of any size.
"""
