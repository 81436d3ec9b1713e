"""The journal: a second copy of rows that a lost index must not lose, replayed into an older or empty database."""
