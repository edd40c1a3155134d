"""The processes of a server: a supervisor, its workers, and what looks at traffic beside them."""
