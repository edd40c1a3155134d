"""Multiruns: their parent run, and the table and picture at their end."""
