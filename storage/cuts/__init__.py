"""Cutting keys on several nodes (docs/formats/cuts.md): lines in a chain, and what a holder of keys does next."""
