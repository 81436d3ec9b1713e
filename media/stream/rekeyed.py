"""A source that goes on under the key of a re-offer, or another of its line, with the rollover counter it had.

RFC 3711 section 3.3.1 wants it kept over a new master key; many senders begin at zero with the new key of a re-offer,
which is what a fresh context takes for granted. Both are heard: what a key does not open at zero is looked at once more
with the index that the stream has reached, by the counter of the key in use and by that of the first one. A key of
before goes on with the latter where another has begun at zero meanwhile and it was forgotten: by a successor, or before
it was offered again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from media.stream.receiver import Track


def find(track: Track, packet: bytes, arrival: int) -> tuple[bytes, int] | None:
    """Open a packet that was refused; give the plaintext and its extended number, None if it is not such a packet."""
    keyring, ssrc = track.keyring, int.from_bytes(packet[8:12])
    if keyring is None or len(packet) < 12 or (len(keyring.contexts) == 1 and keyring.contexts[0].shift is not None):
        return None
    source = next((each for each in track.reception.sources if each.ssrc == ssrc and each.known), None)
    if source is None:
        return None
    extended = source.extend(int.from_bytes(packet[2:4]))
    for index in dict.fromkeys((extended + (source.shift << 16), extended)):
        opened = keyring.take_on(packet, arrival, index) if index >> 16 > 0 else None  # at zero every key was tried
        if opened is not None:
            return opened, extended
    return None
