"""Traits: a few numbers and categories that tell what one row, or one answer, is like.

A preprocessor in `flywheel/preprocessor/<name>.py` has its traits in `flywheel/monitor/trait/<name>.py`, and so has a
target. Everything after that, references, tests, pictures, knows traits only, and never asks what a row is.
"""
