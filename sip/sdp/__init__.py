"""Session descriptions (RFC 8866): parsing, SDES keys, offer and answer; pure."""
