"""Rows as people see them: parts that can be hidden, and values to choose from.

A preprocessor in `flywheel/preprocessor/<name>.py` has what is its own in `flywheel/serving/row/<name>.py`.
"""
