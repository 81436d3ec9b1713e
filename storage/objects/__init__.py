"""An object store for sealed parts: write, read by ranges, list, delete, and find out what a store really does."""
