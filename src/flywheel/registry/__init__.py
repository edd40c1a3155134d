"""The model registry: what a version holds, which one is champion, and the log of why."""
