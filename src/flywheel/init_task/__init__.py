"""`flywheel init-task`: inspects a user's data, guesses what can be learnt from it, and writes the configuration."""
