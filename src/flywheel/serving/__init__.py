"""The inference server: every task's champion behind HTTP, with the preprocessor it was trained with."""
