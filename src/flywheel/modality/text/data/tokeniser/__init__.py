"""Tokenisers: from texts to whole numbers and back; one a file."""
