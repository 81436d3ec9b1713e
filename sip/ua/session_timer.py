"""Session timers (RFC 4028): what we agree to in a response, and what the response to a request of ours decides.

The peer refreshes whenever it can, because some clients cannot process a refresh from us.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sip.errors import RemoteError
from sip.message.grammar import params
from sip.message.headers import Headers

# Longest interval accepted, in seconds (one week).
MAX_INTERVAL = 604_800
# Shortest interval that we keep to, in seconds: no response of a peer makes us refresh more often than half of it.
MIN_INTERVAL = 30
# We end the session this many seconds before its interval, or a third of it if that is less (RFC 4028 section 10).
MARGIN = 32.0


@dataclass(frozen=True, slots=True)
class SessionTimer:
    """An agreed session interval."""

    # Seconds.
    interval: int
    # Whether we refresh, not the peer.
    ours: bool
    # Largest Min-SE of a 422 to a request of ours, which every later request repeats; 0 if there was none.
    minimum: int = 0

    def fields(self) -> tuple[tuple[str, str], ...]:
        """Return the header fields of the 2xx that agrees to it (section 9)."""
        if self.ours:
            return (("Session-Expires", f"{self.interval};refresher=uas"),)
        return (("Session-Expires", f"{self.interval};refresher=uac"), ("Require", "timer"))

    def expires_after(self) -> float:
        """Return the seconds from the last refresh to our BYE."""
        return self.interval - min(MARGIN, self.interval / 3)

    def refresh_after(self) -> float:
        """Return the seconds from the last refresh to ours: half the interval (section 10)."""
        return self.interval / 2


def negotiate(headers: Headers, minimum: int, current: SessionTimer | None) -> SessionTimer | None:
    """Answer the Session-Expires of a request; raise RemoteError with 422.

    Without that header, a running timer continues if the peer supports timers. A Min-SE below ours is no error.
    """
    supported = "timer" in headers.tokens("Supported") or "timer" in headers.tokens("Require")
    asked = _asked(headers.get("Session-Expires"))
    if asked is None:
        return current if supported else None
    interval, refresher = asked
    if interval < minimum:
        if supported:
            raise RemoteError("session-interval", 422)
        interval = minimum
    if not supported:
        return None
    return SessionTimer(min(interval, MAX_INTERVAL), refresher == "uas")


def decided(headers: Headers, current: SessionTimer | None) -> SessionTimer | None:
    """Return what the 2xx to our re-INVITE or UPDATE decides (section 7.2); None: the session does not expire.

    If it does not say who refreshes, we do: a refresh too many harms nobody.
    """
    asked = _asked(headers.get("Session-Expires"))
    if asked is None:
        return None
    interval = min(max(asked[0], MIN_INTERVAL), MAX_INTERVAL)
    return SessionTimer(interval, asked[1] != "uas", current.minimum if current else 0)


def raised(headers: Headers, current: SessionTimer | None) -> SessionTimer | None:
    """Return the timer with the Min-SE of a 422 to our request (section 7.3); None if that asks for nothing longer."""
    asked = _asked(headers.get("Min-SE"))
    if current is None or asked is None or not current.interval < asked[0] <= MAX_INTERVAL:
        return None
    return replace(current, interval=asked[0], minimum=asked[0])


def _asked(value: str | None) -> tuple[int, str] | None:
    """Read a Session-Expires or Min-SE value; ignore it if it is no number."""
    digits, _, tail = (value or "").partition(";")
    digits = digits.strip()
    if not digits.isascii() or not digits.isdigit():
        return None
    refresher = next((text or "" for name, text in params(tail) if name == "refresher"), "")
    return int(digits[:9]), refresher.strip().lower()
