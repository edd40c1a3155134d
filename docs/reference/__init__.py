"""Writes the reference pages of `docs/` from the code, so that no page is kept by hand.

`python -m docs.reference` writes them, and with `--check` says which of them are not what the code gives.
"""
