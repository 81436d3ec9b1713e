"""SRTP and SRTCP contexts, suites and keys, and DTLS handshakes."""
