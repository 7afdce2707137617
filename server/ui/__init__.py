"""The page that shows a log in a browser: what serves it, what writes it as a file, the page.

What reads a log for the page, and answers it, comes in; what a stream was is said by
`engine.log.timeline`, which streams are meant by `engine.log.find`, and nothing here changes a
log.
"""
