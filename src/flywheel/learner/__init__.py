"""Training with PyTorch Lightning: one module for all tasks, data as blocks of batches, resume, progress."""
