"""SRTP packets that so many others overtook that libsrtp takes them for replays, and that are none.

libsrtp shifts its replay window with every packet, which takes the longer the longer it is; ours moves once a batch. So
libsrtp has a short one (media.srtp.REPLAYS), and what lies behind that and within ours is opened here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from media.stream.receiver import Track

#: srtp_err_status_replay_old of libsrtp: behind its window, not authenticated.
OLD = 10


def find(track: Track, packet: bytes, status: int) -> tuple[bytes, int] | None:
    """Open a packet that libsrtp found too old; give the plaintext and its extended number, None if it is a replay."""
    keyring, ssrc = track.keyring, int.from_bytes(packet[8:12])
    source = next((each for each in track.reception.sources if each.ssrc == ssrc and each.known), None)
    if status != OLD or keyring is None or source is None:
        return None
    extended = source.extend(int.from_bytes(packet[2:4]))
    if not source.awaits(extended):
        return None
    for context in keyring.contexts:
        shift = source.shift if context is keyring.contexts[0] else context.shift
        plain = None if shift is None else context.open_at(packet, extended + (shift << 16))
        if plain is not None:
            return plain, extended
    return None
