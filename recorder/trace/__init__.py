"""Show the SIP messages that the running daemon sees, with everything personal masked."""
