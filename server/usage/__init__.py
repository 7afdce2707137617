"""`/v1/usage`: what was asked for and what became of it, summed and line by line.

What reads summaries of ended requests for those who ask comes in; what writes them is the log's.
"""
