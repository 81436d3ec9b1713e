"""The index of calls: rows with a sealed part, search by blinded tokens, and writes in batches."""
