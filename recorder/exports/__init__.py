"""Rendering and packing of recordings: sandboxed render workers, export jobs, subject reports."""
