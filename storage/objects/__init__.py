"""An object store for sealed parts: write, read by ranges, list, delete, and try what a store keeps."""
