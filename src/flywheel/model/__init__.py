"""Networks: one `nn.Module` a file, which knows nothing of training, and `network.py`, which wraps and stores them."""
