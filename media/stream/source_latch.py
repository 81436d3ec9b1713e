"""Where a stream comes from: the source of its first genuine packet, to which its socket is connected then.

Encrypted packets prove whose they are. Plain ones prove nothing, and behind one address there may be many senders: the
address and port that the offer names are the only sign of the right one. So whoever comes from another port is heard
until the one that the offer names sends, whenever that is, and the socket is connected to nobody else; until then
`sole` takes the place of the kernel's filter. A call before may have had our port, and its sender may not have stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.receive.batch import NAME, Lane, address
from media.records import record_format
from media.spec import Address, pack_ip

if TYPE_CHECKING:
    from media.stream.receiver import Track

#: First byte of a sockaddr of IPv4, and bytes that are compared at a time.
_IPV4, _WORD = b"\x02", 4


def admits(track: Track, lane: Lane, slot: int) -> bool:
    """Tell whether plain RTP may come from there: the chosen or offered source, before the choice an allowed IP.

    Before the choice also what was on its way from where the source was before a re-offer.
    """
    sender = lane.address(slot)
    if not track.name:
        if sender[0] in track.allowed:
            return True
        return lane.name(slot) == track.left[0] and (lane.arrival(slot) or 0) < track.left[1]
    if sender in (track.latched, track.offered):
        return True
    return any(sender[0] in each for each in track.coming)


def sole(track: Track, lane: Lane, count: int) -> bool:
    """Tell whether all packets of a lane come from the source that was chosen, as if the socket were connected to it.

    One comparison a batch: who comes from another port than it offers (NAT) costs no more than others.
    """
    name = track.name
    if not name or track.keyring is not None or track.spec.dtls is not None:
        return False  # whoever has keys is connected at once
    names = lane.names[: count * NAME].cast("I")
    # of IPv4 family, port and address, behind which nothing is; of IPv6 all
    used = range(0, 8 if name[:1] == _IPV4 else len(name), _WORD)
    return all(names[at // _WORD :: NAME // _WORD].tobytes() == name[at : at + _WORD] * count for at in used)


def is_former(track: Track, sender: Address, packet: bytes) -> bool:
    """Tell whether it is who spoke here in a call before and does not stop; not if this offer names them."""
    ssrc = int.from_bytes(packet[8:12])
    return any(
        ssrc in ssrcs and sender == (pack_ip(ip), port) != track.offered for ip, port, ssrcs in track.spec.former
    )


def choose(track: Track, lane: Lane, slot: int, arrival: int) -> bytes:
    """Choose the source of a genuine packet where none is chosen, or one that the offer does not name.

    Give the mark that belongs before the packet, empty if none does. What was stored of a source that gives way stays,
    and the mark says so.
    """
    if track.name and not track.trial:
        return b""
    name = lane.name(slot)
    named = address(name) == track.offered
    if track.name and not named:
        return b""
    # what was on its way when the source moved is kept, but choosing it again would shut the new source out
    if name == track.left[0] and arrival < track.left[1] and not named:
        return b""
    gave_way = bool(track.name)
    if gave_way:
        track.displace()
    certain = named or track.offered is None or track.keyring is not None
    track.name, track.latch_wish = name, name if certain else None
    if not (track.gaps.resumed_at or track.reception.packets):
        return b""
    return record_format.mark(
        track.spec.stream, record_format.Mark.SOURCE, arrival, record_format.GAVE_WAY if gave_way else 0
    )
