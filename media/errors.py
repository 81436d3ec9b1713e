"""All exceptions that the media package raises."""


class MediaError(Exception):
    """Root of all errors of this package."""


class Malformed(MediaError):
    """The peer sent bytes that are no RTP or RTCP packet."""


class UnusableKey(MediaError):
    """No SRTP context can be made from this key and suite."""


class PortsExhausted(MediaError):
    """No pair of media ports is free; the daemon answers 503."""


class SocketRefused(MediaError):
    """The kernel refused to open the socket."""


class Damaged(MediaError):
    """Stored bytes (a record, a commit slot) do not have the documented layout."""
