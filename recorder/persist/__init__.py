"""What a call leaves on the disk before it is in the index: live state, parts, indexing, repair."""
