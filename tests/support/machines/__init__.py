"""What tests feed to machines, and the clock that they run by.

A way to tell machines a story comes in; each machine's oracle stays beside its tests.
"""
