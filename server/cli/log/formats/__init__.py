"""Streams of a log in the formats of other programs.

A module for each comes in, with `write(stories, target)`; so does what several of them need to
know of a stream. Which streams, and where to, is asked by `turntape export`.
"""
