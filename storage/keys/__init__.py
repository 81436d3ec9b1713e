"""The key tree: a key for each recording, derived from one root secret, deleted to erase it; the log of these cuts."""
