"""The checks of `turntape doctor`: each looks at one part of a deployment, and says what to do.

A look that disturbs nothing comes in: no lock is taken, nothing is written, whether or not a
server runs. How findings are printed is the command's.
"""
