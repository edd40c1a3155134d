"""What a sweep shows: progress, tables, pictures and advice."""
