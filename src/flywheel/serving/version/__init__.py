"""The model versions in service: loaded, batched, answering, and recorded."""
