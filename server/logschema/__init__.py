"""The schema of the diagnostics: every line that the server may write to its standard error.

A kind of line, a field, a component comes in before the first line that has it. Nothing here runs
with a line: tests hold sources and real servers to it, and the page about it is drawn from it.
"""
