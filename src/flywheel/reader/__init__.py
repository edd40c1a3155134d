"""Readers: from the raw files of a data set to rows, in chunks. A kind of data set is one file here.

A reader is a class with `read(raw_dir) -> Splits`. It never skips a row: what it cannot read it yields with
the reason in the column `error`, so that cleaning counts it; a file broken as a whole raises DataError.
"""
