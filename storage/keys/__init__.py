"""The key tree: a key for each recording, derived from one root secret and deleted to erase it."""
