"""Interactions of users with items: all that is of this kind of data alone."""
