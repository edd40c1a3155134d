"""The command line, a file for each command; `cli.py`, the entry point, imports what a command needs when it runs."""
