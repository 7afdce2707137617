"""What tests share: a folder has one subject, and holds no test of the product.

What a second test needs comes in, under its subject; what one test needs stays beside it.
"""
