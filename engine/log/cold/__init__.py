"""Segments that are no longer written to, compressed: their form, how they are read and made.

What knows the bytes of a compressed segment comes in, and what opens a segment in either form.
Which segments are compressed, and when, is the writer's to say.
"""
