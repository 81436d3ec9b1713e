"""A session recording server (RFC 7866) as pure state machines: bytes and time in, events and bytes out."""
