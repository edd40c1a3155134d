"""Texts: all that is of this kind of data alone."""
