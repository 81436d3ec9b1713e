"""The journal: a second copy of rows that must survive a lost index, replayed into an older or empty database."""
