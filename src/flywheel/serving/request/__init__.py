"""What a request holds: rows, uploads, forms and tensors."""
