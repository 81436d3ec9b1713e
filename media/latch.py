"""Where a stream comes from: the source of its first genuine packet, to which its socket is connected then.

Encrypted packets prove whose they are. Plain ones prove nothing, and behind one address there may be many senders: the
port that the offer names is the only sign of the right one. So whoever comes from another port is chosen on trial, and
the socket stays open for that one meanwhile. A call before may have had our port, and its sender may not have stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from media import records
from media.batch import Lane, address
from media.spec import Address, pack_ip

if TYPE_CHECKING:
    from media.track import Track

#: ns of a trial: an SBC sends within a second of the answer or not before somebody speaks, and whoever sends from
#: another port than it offers (NAT) is not to go without the filter of the kernel for longer.
TRIAL = 10_000_000_000


def admits(track: Track, sender: Address) -> bool:
    """Tell whether plain RTP may come from there: the chosen address, or before the choice an allowed one."""
    if not track.name:
        return sender[0] in track.allowed
    if sender == track.latched or (track.trial and sender == track.offered):
        return True
    return any(sender[0] in each for each in track.coming)


def is_former(track: Track, sender: Address, packet: bytes) -> bool:
    """Tell whether it is who spoke here in a call before and does not stop; not if this offer names them."""
    ssrc = int.from_bytes(packet[8:12])
    return any(
        ssrc in ssrcs and sender == (pack_ip(ip), port) != track.offered for ip, port, ssrcs in track.spec.former
    )


def choose(track: Track, lane: Lane, slot: int, arrival: int, out: list[bytes]) -> None:
    """Choose the source of a genuine packet where none is chosen, or only on trial; wish the socket connected to it."""
    if track.name and not track.trial:
        return
    name = lane.name(slot)
    named = address(name) == track.offered
    if track.name and not named:
        if name == track.name and track.spec.held:
            track.trial = arrival + TRIAL  # whom the offer names has nothing to say yet
        elif name == track.name and arrival >= track.trial:
            track.latch_wish, track.trial = name, 0
        return
    # what was on its way when the source moved is kept, but choosing it again would shut the new source out
    if name == track.left[0] and arrival < track.left[1] and not named:
        return
    certain = named or track.offered is None or track.keyring is not None
    track.name, track.latch_wish, track.trial = name, name if certain else None, 0 if certain else arrival + TRIAL
    if track.resumed_at or track.packets:
        out.append(records.mark(track.spec.stream, records.Mark.SOURCE, arrival))
