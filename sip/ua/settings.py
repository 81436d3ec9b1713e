"""The settings of the SIP side, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """How the endpoint answers; the default of every field suits an ordinary SBC."""

    # Require all marks of RFC 7866 (option tag and feature tag) instead of any one of the three.
    strict_marks: bool = False
    # Also record INVITEs without a SIPREC mark (Cisco network-based recording, built-in bridge).
    plain_calls: bool = False
    # Maximum number of dialogs; the daemon's own max_calls is lower and answers 503 first.
    max_dialogs: int = 20_000
    # Maximum number of stored server transactions, about 2 KB each. Beyond it a refusal is sent and not stored.
    max_transactions: int = 50_000
    # Maximum number of accepted TCP and TLS connections from one source address, half of the total. An SBC pair needs
    # two; a client that opens one for each call needs a few hundred.
    max_connections_per_peer: int = 256
    # Maximum number of accepted TCP and TLS connections: the usual limit of 1,024 descriptors less what media needs.
    max_connections: int = 512
    # Seconds in which a message begun on a stream must be complete (against slow-loris attacks).
    message_timeout: float = 20.0
    # Seconds within which a new connection must send a whole message or a keep-alive.
    first_message_timeout: float = 60.0
    # Seconds within which the user must confirm a BYE; after that it is answered with 200 anyway.
    confirm_timeout: float = 5.0
    # Smallest session interval accepted, in seconds (RFC 4028 section 5: not below 90).
    min_session_expires: int = 90
    # Address in our Contact, if clients reach us by another one than we know. Only used for its own IP version.
    contact_host: str = ""
    # Seconds in Retry-After if the endpoint itself refuses.
    retry_after: int = 5
