"""The command line, a file for each command; `cli.py` is its door, and imports what a command needs when it runs."""
