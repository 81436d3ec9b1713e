"""An object store for sealed parts: write, read by ranges, list, delete, and probe what a store supports."""
