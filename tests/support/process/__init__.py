"""The program as a process: started, with faults planted in it, and what it costs.

What starts, watches, measures or holds up a process comes in.
"""
