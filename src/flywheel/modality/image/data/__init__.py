"""Pictures: how they are read and encoded. An edit here runs `preprocess` again, for tasks of this kind alone."""
