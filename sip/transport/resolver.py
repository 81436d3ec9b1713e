"""Resolve host names for our requests on UDP (RFC 3263 section 4.4, address records only)."""

from __future__ import annotations

import asyncio
import socket

# Seconds for which an answer is reused, and how many are kept; a node talks to a few dozen SBCs.
NAME_SECONDS = 60.0
MAX_NAMES = 1_000
# Longest look-up in seconds; meanwhile the request is repeated, and afterwards it tries another flow.
LOOK_UP_TIMEOUT = 3.0


def is_address(host: str) -> bool:
    """Return whether this is a numeric address, with or without a zone, rather than a name."""
    bare = host.partition("%")[0]
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in bare else socket.AF_INET, bare)
    except (OSError, ValueError):  # ValueError: a NUL, or bytes that were not UTF-8
        return False
    return True


class Resolver:
    """Resolve names and keep the answers for a minute."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def known(self, host: str) -> str | None:
        """Return the address if no look-up is needed."""
        return host if is_address(host) else self._known.get(host)

    async def look_up(self, host: str, port: int, family: int) -> str:
        """Ask the system's resolver; raise OSError if it does not know the name."""
        loop = asyncio.get_running_loop()
        try:
            work = loop.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
            found = await asyncio.wait_for(work, LOOK_UP_TIMEOUT)
        except (TimeoutError, UnicodeError) as error:
            raise OSError("name not found") from error
        if len(self._known) >= MAX_NAMES:
            self._known.clear()
        self._known[host] = str(found[0][4][0])
        loop.call_later(NAME_SECONDS, self._known.pop, host, None)
        return self._known[host]
