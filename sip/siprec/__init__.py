"""Recording metadata (RFC 7865) in the dialects that session recording clients speak; pure."""
