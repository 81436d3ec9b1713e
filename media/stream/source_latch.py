"""Where a stream comes from: the source of its first genuine packet, to which its socket is connected then.

Encrypted packets prove whose they are. Plain ones prove nothing, and behind one address there may be many senders: the
address and port that the offer names are the only sign of the right one. So whoever comes from another port is heard
until the one that the offer names sends, whenever that is, and the socket is connected to nobody else; until then
`sole` takes the place of the kernel's filter. A call before may have had our port, and its sender may not have stopped.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from media.receive.batch import NAME, Lane, address
from media.spec import Address, Allowed, StreamSpec, pack_ip

#: First byte of a sockaddr of IPv4, and bytes that are compared at a time.
_IPV4, _WORD = b"\x02", 4
#: ns after a re-offer in which packets from where the source was before may still be on their way.
STRAGGLE = 2_000_000_000


class Choice(Enum):
    """What a genuine packet has done to the choice of the source."""

    FIRST = "first"
    GAVE_WAY = "gave way"


class SourceLatch:
    """The source that was chosen, and whether the socket is connected to it."""

    __slots__ = ("allowed", "coming", "connected", "left", "name", "pure", "wish")

    def __init__(self, spec: StreamSpec) -> None:
        self.allowed = Allowed.of(spec)
        #: Where packets may come from besides: the sources of re-offers that were heard of and not followed yet.
        self.coming: tuple[Allowed, ...] = ()
        #: The sockaddr that was chosen, empty before; and the one the shell is asked to connect to.
        self.name = b""
        self.wish: bytes | None = None
        #: The one before a re-offer that moved the source, and until when (ns) its packets may still come.
        self.left = (b"", 0)
        #: Connected, and nothing that came before that is left in the socket: the kernel vouches for the source.
        self.connected = False
        self.pure = False

    @property
    def latched(self) -> Address | None:
        """Give the address that was chosen, None before."""
        return address(self.name) if self.name else None

    def on_trial(self, spec: StreamSpec, *, encrypted: bool) -> bool:
        """Tell whether the source that was chosen gives way to the one that the offer names."""
        return (
            bool(self.name) and not encrypted and not self.pure and not self.coming
            and spec.source is not None and self.latched != offered(spec)
        )  # fmt: skip

    # ---- packets ----
    def admits(self, spec: StreamSpec, lane: Lane, slot: int) -> bool:
        """Tell whether plain RTP may come from there: the chosen or offered source, before the choice an allowed IP.

        Before the choice also what was on its way from where the source was before a re-offer.
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
        """Tell whether RTCP may come from an IP address: an allowed one, or that of the source that was chosen."""
        return host in self.allowed or (self.latched is not None and host == self.latched[0])

    def sole(self, lane: Lane, count: int) -> bool:
        """Tell whether all packets of a lane come from the source that was chosen, as if the socket were connected to
        it.

        One comparison a batch: who comes from another port than it offers (NAT) costs no more than others.
        """
        name = self.name
        if not name:
            return False
        names = lane.names[: count * NAME].cast("I")
        # of IPv4 family, port and address, behind which nothing is; of IPv6 all
        used = range(0, 8 if name[:1] == _IPV4 else len(name), _WORD)
        return all(names[at // _WORD :: NAME // _WORD].tobytes() == name[at : at + _WORD] * count for at in used)

    def choose(self, spec: StreamSpec, lane: Lane, slot: int, arrival: int, *, encrypted: bool) -> Choice | None:
        """Choose the source of a genuine packet where none is chosen, or one that the offer does not name.

        None if the choice stays as it was.
        """
        if self.name and not self.on_trial(spec, encrypted=encrypted):
            return None
        name, wanted = lane.name(slot), offered(spec)
        named = address(name) == wanted
        if self.name and not named:
            return None
        # what was on its way when the source moved is kept, but choosing it again would shut the new source out
        if name == self.left[0] and arrival < self.left[1] and not named:
            return None
        choice = Choice.GAVE_WAY if self.name else Choice.FIRST
        self.name, self.wish = name, name if named or wanted is None or encrypted else None
        return choice

    # ---- the socket ----
    def connect(self, *, connected: bool) -> None:
        """Note whether the socket was connected to the source it was to be connected to."""
        self.connected, self.wish = connected, None

    def emptied(self) -> None:
        """Note that nothing is left in the socket of what came before it was connected."""
        self.pure = True

    def vouch(self, *, pure: bool) -> None:
        """Note whether whoever received the packets that are taken next had a socket that was connected and emptied."""
        self.pure = pure

    def resume(self, spec: StreamSpec, *, encrypted: bool) -> None:
        """Ask, as a successor, for the socket to be connected to the source that was chosen for good."""
        open_yet = self.coming or self.on_trial(spec, encrypted=encrypted)
        self.wish = None if open_yet else self.name or None

    # ---- re-offer ----
    def expect(self, spec: StreamSpec) -> None:
        """Bear with packets from where a re-offer moves the source to, before it is followed."""
        self.coming = (*self.coming, Allowed.of(spec))
        self.connected = self.pure = False  # the kernel vouches for nobody any more

    def change(self, spec: StreamSpec) -> None:
        """Follow a re-offer."""
        self.coming, self.allowed = (), Allowed.of(spec)

    def move(self, at: int) -> None:
        """Forget the source that was chosen under another offer; the next genuine packet chooses anew."""
        self.left = (self.name, at + STRAGGLE) if self.name else self.left
        self.name, self.wish = b"", None
        self.connected, self.pure, self.coming = False, False, ()

    # ---- checkpoint ----
    def rarer(self, spec: StreamSpec) -> dict[str, object]:
        """Give the offer's source where another was chosen: a successor may know another offer only."""
        return {"offered": spec.source} if self.name and self.latched != offered(spec) else {}

    def restore(self, spec: StreamSpec, name: bytes, rare: dict[str, Any]) -> None:
        """Take back the source that was chosen; what the offer of then said of it is mostly what was chosen."""
        self.name = name
        of_then = self.latched
        if "offered" in rare:
            source = rare["offered"]
            of_then = source and (pack_ip(source[0]), source[1])
        if name and of_then != offered(spec):
            self.coming = (self.allowed,)  # it was chosen under another offer, and whoever chose it is dead


def offered(spec: StreamSpec) -> Address | None:
    """Return where the offer says that media come from."""
    source = spec.source
    return source and (pack_ip(source[0]), source[1])


def is_former(spec: StreamSpec, sender: Address, packet: bytes) -> bool:
    """Tell whether it is who spoke here in a call before and does not stop; not if this offer names them."""
    ssrc, wanted = int.from_bytes(packet[8:12]), offered(spec)
    return any(ssrc in ssrcs and sender == (pack_ip(ip), port) != wanted for ip, port, ssrcs in spec.former)
