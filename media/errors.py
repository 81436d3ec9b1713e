"""Everything that may leave the media package as an exception."""


class MediaError(Exception):
    """Root of all errors of this package."""


class Malformed(MediaError):
    """The peer sent bytes that are no RTP or RTCP packet."""


class UnusableKey(MediaError):
    """The key, its length or the suite cannot make an SRTP context."""


class PortsExhausted(MediaError):
    """No pair of media ports is free; the daemon answers 503."""


class SocketRefused(MediaError):
    """The kernel would not give the socket that was asked for."""


class Damaged(MediaError):
    """Stored bytes (a record, a commit slot) do not have the documented layout."""
