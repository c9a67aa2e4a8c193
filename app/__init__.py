"""The page: a picture in, a sentence out, and where the model looked for each word of it.

`python -m app` serves it from a checkout; `captioner demo` is the same, installed.
"""
