"""Random changes to training batches: one file a kind of input."""
