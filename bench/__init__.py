"""Benchmarks: each compares with a named peer in the same run; see RESULTS.md."""
