"""The command line: one module a command.

What parses arguments and prints comes in; nothing but the program imports it.
"""
