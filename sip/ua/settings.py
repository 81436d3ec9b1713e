"""The knobs of the SIP side, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Say how the endpoint answers; every field has a default that suits an ordinary SBC."""

    # Demand all marks of RFC 7866 (option tag and feature tag) instead of any one of the three.
    strict_marks: bool = False
    # INVITEs without a SIPREC mark are recorded too (Cisco network-based recording, built-in bridge).
    plain_calls: bool = False
    # Dialogs at the same time; the daemon's own max_calls lies below it and answers 503 first.
    max_dialogs: int = 20_000
    # Server transactions kept at the same time, about 2 KB each; beyond it INVITEs get 503 and nothing is stored.
    max_transactions: int = 50_000
    # Accepted TCP and TLS connections of one source address, half of all: an SBC pair needs two, a client that opens
    # one a call some hundred.
    max_connections_per_peer: int = 256
    # Accepted TCP and TLS connections in all, below the usual limit of 1,024 descriptors less what media needs.
    max_connections: int = 512
    # Seconds in which a message begun on a stream must be whole (a slow-loris peer is cut off).
    message_timeout: float = 20.0
    # Seconds within which a new connection must have sent a whole message or a keep-alive.
    first_message_timeout: float = 60.0
    # Seconds within which the user must confirm a BYE; then it is answered 200 in any case.
    confirm_timeout: float = 5.0
    # Smallest session interval accepted, in seconds (RFC 4028 section 5: not below 90).
    min_session_expires: int = 90
    # Address in our Contact where clients reach us by another one than we know; none of the other IP version is.
    contact_host: str = ""
    # Seconds that Retry-After names where the endpoint itself refuses.
    retry_after: int = 5
