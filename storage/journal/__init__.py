"""The journal: what the index must not lose, replayed into a database that is older or empty."""
