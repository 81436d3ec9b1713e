"""What a call leaves on disk before it is in the index: live state, parts, indexing, repair."""
