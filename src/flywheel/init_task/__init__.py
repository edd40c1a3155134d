"""`flywheel init-task`: looks at a person's data, guesses what can be learnt from it, and writes its configuration."""
