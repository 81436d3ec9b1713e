"""Sockets: SIP over UDP, TCP and TLS, name resolution and TLS handshakes."""
