"""The commands that read a log: each a module with `add_arguments` and `run`, imported when its
command is chosen.

What asks for a log's streams, shows or derives something of them comes in; what a stream was is
said by `engine.log.timeline`, not here.
"""
