"""HTTP, configuration, and the place that puts everything together.

At the top are the modules that know every room: the parts' assembly, their start and stop, the
route table. What is about one endpoint, one command or one setting has a room below.
"""
