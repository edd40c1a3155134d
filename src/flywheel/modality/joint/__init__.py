"""Several kinds of input in one row: all that is of this kind of data alone."""
