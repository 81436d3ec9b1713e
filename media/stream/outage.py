"""SRTP behind an outage: the index that no receiver can estimate, because more than half a round of numbers is missing.

A receiver takes the index nearest to the last one (RFC 3711 section 3.3.1). Once 32,768 packets are missing, eleven
minutes of a usual stream, that is the wrong one: everything is refused as forged or replayed, to the end of the call.
Time tells how many packets may have been sent meanwhile, and so which indexes are possible; the right one is genuine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.srtp.context import MAX_ROLLOVER

if TYPE_CHECKING:
    from media.stream.receiver import Track

#: Packets that may be missing before anything is looked for; the estimate is right up to 32,768.
NEAR = 0x7000
#: ns of a packet where none has shown it yet.
PACKET = 20_000_000


def find(track: Track, packet: bytes, arrival: int) -> tuple[bytes, int] | None:
    """Open a packet that was refused; give the plaintext and its extended number, None if it is not such a packet."""
    keyring, ssrc = track.keyring, int.from_bytes(packet[8:12])
    source = next((each for each in track.reception.sources if each.ssrc == ssrc and each.known), None)
    if keyring is None or source is None or len(packet) < 12:
        return None
    sent = int((arrival - source.arrival) / (source.step * track.reception.unit or PACKET))
    if sent < NEAR:
        return None
    reached = source.highest + (source.shift << 16)
    found = keyring.go_on(packet, arrival, candidates(reached, sent, int.from_bytes(packet[2:4])))
    return found and (found[0], found[1] - (source.shift << 16))


def candidates(reached: int, sent: int, sequence: int) -> range:
    """Give the indexes beyond one that was reached which a 16-bit number may mean, after at most `sent` packets more.

    A round more than that: a sender may be somewhat faster than what was seen of it.
    """
    first = reached + 1 + ((sequence - reached - 1) & 0xFFFF)
    rounds = min((reached + sent - first) // 0x10000 + 2, MAX_ROLLOVER)
    return range(first, first + max(1, rounds) * 0x10000, 0x10000)
