"""Where a stream comes from: the source of its first genuine packet, to which the socket is then connected.

Encrypted packets prove their origin. Plain ones prove nothing, and one address may have many senders behind it: the
address and port in the offer are the only sign of the right one. So a source on another port is accepted until the one
that the offer names sends, whenever that is, and the socket is connected to no other; until then `sole` replaces the
kernel's filter. An earlier call may have had our port, and its sender may not have stopped.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from media.receive.batch import NAME, Lane, address
from media.spec import Address, Allowed, StreamSpec, pack_ip

#: First byte of an IPv4 sockaddr, and bytes compared at a time.
_IPV4, _WORD = b"\x02", 4
#: ns after a re-offer in which packets from the previous source may still arrive.
STRAGGLE = 2_000_000_000


class Choice(Enum):
    """How a genuine packet has changed the choice of the source."""

    FIRST = "first"
    GAVE_WAY = "gave way"


class SourceLatch:
    """The chosen source, and whether the socket is connected to it."""

    __slots__ = ("allowed", "coming", "connected", "left", "name", "pure", "wish")

    def __init__(self, spec: StreamSpec) -> None:
        self.allowed = Allowed.of(spec)
        #: Further permitted origins: the sources of re-offers that are announced and not applied yet.
        self.coming: tuple[Allowed, ...] = ()
        #: The chosen sockaddr, empty before the choice; and the one to which the shell should connect.
        self.name = b""
        self.wish: bytes | None = None
        #: The source before a re-offer moved it, and until when (ns) its packets may still come.
        self.left = (b"", 0)
        #: Connected, and the socket holds nothing older than that: the kernel guarantees the source.
        self.connected = False
        self.pure = False

    @property
    def latched(self) -> Address | None:
        """Return the chosen address; None before the choice."""
        return address(self.name) if self.name else None

    def on_trial(self, spec: StreamSpec, *, encrypted: bool) -> bool:
        """Return whether the chosen source gives way to the one that the offer names."""
        return (
            bool(self.name) and not encrypted and not self.pure and not self.coming
            and spec.source is not None and self.latched != offered(spec)
        )  # fmt: skip

    # ---- packets ----
    def admits(self, spec: StreamSpec, lane: Lane, slot: int) -> bool:
        """Return whether plain RTP may come from there: the chosen or offered source, before the choice an allowed IP.

        Before the choice, packets still on their way from the source before a re-offer are admitted too.
        """
        sender = lane.address(slot)
        if not self.name:
            if sender[0] in self.allowed:
                return True
            return lane.name(slot) == self.left[0] and (lane.arrival(slot) or 0) < self.left[1]
        if sender in (self.latched, offered(spec)):
            return True
        return any(sender[0] in each for each in self.coming)

    def admits_host(self, host: bytes) -> bool:
        """Return whether RTCP may come from an IP address: an allowed one, or that of the chosen source."""
        return host in self.allowed or (self.latched is not None and host == self.latched[0])

    def sole(self, lane: Lane, count: int) -> bool:
        """Return whether all packets of a lane come from the chosen source, as if the socket were connected to it.

        One comparison per batch: a sender on another port than offered (NAT) costs no more than others.
        """
        name = self.name
        if not name:
            return False
        names = lane.names[: count * NAME].cast("I")
        # of IPv4 family, port and address, since the rest is zero; of IPv6 everything
        used = range(0, 8 if name[:1] == _IPV4 else len(name), _WORD)
        return all(names[at // _WORD :: NAME // _WORD].tobytes() == name[at : at + _WORD] * count for at in used)

    def choose(self, spec: StreamSpec, lane: Lane, slot: int, arrival: int, *, encrypted: bool) -> Choice | None:
        """Choose the source of a genuine packet if none is chosen, or only one that the offer does not name.

        Return None if the choice stays as it was.
        """
        if self.name and not self.on_trial(spec, encrypted=encrypted):
            return None
        name, wanted = lane.name(slot), offered(spec)
        named = address(name) == wanted
        if self.name and not named:
            return None
        # packets on their way when the source moved are kept, but choosing their source would lock the new one out
        if name == self.left[0] and arrival < self.left[1] and not named:
            return None
        choice = Choice.GAVE_WAY if self.name else Choice.FIRST
        self.name, self.wish = name, name if named or wanted is None or encrypted else None
        return choice

    # ---- the socket ----
    def connect(self, *, connected: bool) -> None:
        """Note whether the socket was connected to the requested source."""
        self.connected, self.wish = connected, None

    def emptied(self) -> None:
        """Note that the socket holds nothing from before it was connected."""
        self.pure = True

    def note_filtered(self, *, pure: bool) -> None:
        """Note whether the packets that come next were received by a socket that was connected and emptied."""
        self.pure = pure

    def resume(self, spec: StreamSpec, *, encrypted: bool) -> None:
        """As a successor, request that the socket be connected to the source if the choice was final."""
        open_yet = self.coming or self.on_trial(spec, encrypted=encrypted)
        self.wish = None if open_yet else self.name or None

    # ---- re-offer ----
    def expect(self, spec: StreamSpec) -> None:
        """Accept packets from where a re-offer moves the source, before the re-offer is applied."""
        self.coming = (*self.coming, Allowed.of(spec))
        self.connected = self.pure = False  # the kernel no longer guarantees the source

    def change(self, spec: StreamSpec) -> None:
        """Apply a re-offer."""
        self.coming, self.allowed = (), Allowed.of(spec)

    def move(self, at: int) -> None:
        """Forget the source chosen under another offer; the next genuine packet chooses again."""
        self.left = (self.name, at + STRAGGLE) if self.name else self.left
        self.name, self.wish = b"", None
        self.connected, self.pure, self.coming = False, False, ()

    # ---- checkpoint ----
    def rarer(self, spec: StreamSpec) -> dict[str, object]:
        """Return the offered source if another one was chosen: a successor may only know another offer."""
        return {"offered": spec.source} if self.name and self.latched != offered(spec) else {}

    def restore(self, spec: StreamSpec, name: bytes, rare: dict[str, Any]) -> None:
        """Restore the chosen source; usually it is the one that the offer of that time named."""
        self.name = name
        of_then = self.latched
        if "offered" in rare:
            source = rare["offered"]
            of_then = source and (pack_ip(source[0]), source[1])
        if name and of_then != offered(spec):
            self.coming = (self.allowed,)  # chosen under another offer by a worker that is dead


def offered(spec: StreamSpec) -> Address | None:
    """Return where the offer says that media come from."""
    source = spec.source
    return source and (pack_ip(source[0]), source[1])


def is_former(spec: StreamSpec, sender: Address, packet: bytes) -> bool:
    """Return whether this sender belongs to an earlier call and does not stop; False if this offer names it."""
    ssrc, wanted = int.from_bytes(packet[8:12]), offered(spec)
    return any(ssrc in ssrcs and sender == (pack_ip(ip), port) != wanted for ip, port, ssrcs in spec.former)
