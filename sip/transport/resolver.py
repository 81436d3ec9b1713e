"""Addresses of host names, for requests of ours on UDP (RFC 3263 section 4.4, address records only)."""

from __future__ import annotations

import asyncio
import socket

# Seconds for which an answer is used again, and how many are kept; a node talks with some dozens of SBCs.
NAME_SECONDS = 60.0
MAX_NAMES = 1_000
# Seconds a look-up may take; the request is repeated meanwhile, and then goes another way.
LOOK_UP_TIMEOUT = 3.0


def is_address(host: str) -> bool:
    """Tell a numeric address, with or without a zone, from a name."""
    bare = host.partition("%")[0]
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in bare else socket.AF_INET, bare)
    except (OSError, ValueError):  # ValueError: a NUL, or bytes that were no UTF-8
        return False
    return True


class Resolver:
    """Look names up, and remember the answers for a minute."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def known(self, host: str) -> str | None:
        """Give the address if no look-up is needed."""
        return host if is_address(host) else self._known.get(host)

    async def look_up(self, host: str, port: int, family: int) -> str:
        """Ask the system's resolver; raise OSError if it does not know."""
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
