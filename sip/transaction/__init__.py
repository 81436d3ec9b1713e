"""Transactions (RFC 3261, section 17): retransmissions, matching, and the responses of a server; pure."""
