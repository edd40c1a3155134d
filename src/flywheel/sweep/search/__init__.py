"""What a sweep searches, and which trial comes next."""
