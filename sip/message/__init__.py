"""SIP messages: grammar, headers, URIs, bodies, framing on streams, digest authentication; pure."""
