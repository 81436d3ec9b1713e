"""Genuine SRTP packets that a receiver would refuse by the RFC: three cases, tried in this order.

1. So many packets overtook it that libsrtp takes it for a replay. libsrtp shifts its replay window with every packet,
   which takes longer the larger the window is; ours moves once per batch. So libsrtp has a small one
   (media.srtp.context.REPLAYS), and a packet beyond that one and within ours is opened here.
2. More than half a cycle of numbers is missing, so that no receiver can estimate the index: it takes the one nearest to
   the last (RFC 3711 section 3.3.1). Once 32,768 packets are missing, eleven minutes of a usual stream, that is the
   wrong one, and everything is refused as forged or replayed until the call ends. The elapsed time limits how many
   packets may have been sent, and so which indexes are possible; with the right one the packet is authentic.
3. A source continues under the key of a re-offer, or another key of its line, with its rollover counter. RFC 3711
   section 3.3.1 keeps the counter when the master key changes; many senders start at zero with the new key of a
   re-offer, as a fresh context assumes. Both are accepted: a packet that a key does not open at zero is tried again
   with the index that the stream has reached, by the counter of the key in use and by that of the first one. An earlier
   key continues with the latter if another key has started at zero in the meantime and the earlier one was forgotten:
   by a successor, or before it was offered again.

Each function returns the plaintext and the extended number of the packet, or None if it is no such packet.
"""

from media.rtp.sequence import Source
from media.srtp.context import MAX_ROLLOVER
from media.srtp.keyring import Keyring

#: srtp_err_status_replay_old of libsrtp: beyond its window, not authenticated.
OLD = 10
#: Packets that must be missing before other indexes are tried; the estimate is right up to 32,768.
NEAR = 0x7000
#: ns per packet if none has shown it yet.
PACKET = 20_000_000
Found = tuple[bytes, int]


def recover(keyring: Keyring, source: Source, packet: bytes, arrival: int, status: int, unit: float) -> Found | None:
    """Open a packet of a known source that libsrtp refused with a status; `unit`: ns of a timestamp unit."""
    return (
        overtaken(keyring, source, packet, status)
        or after_outage(keyring, source, packet, arrival, unit)
        or rekeyed(keyring, source, packet, arrival)
    )


def overtaken(keyring: Keyring, source: Source, packet: bytes, status: int) -> Found | None:
    """Open a packet that libsrtp found too old and that has not come before."""
    if status != OLD:
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


def after_outage(keyring: Keyring, source: Source, packet: bytes, arrival: int, unit: float) -> Found | None:
    """Open a packet before which so many may be missing that its index cannot be estimated."""
    sent = int((arrival - source.arrival) / (source.step * unit or PACKET))
    if len(packet) < 12 or sent < NEAR:
        return None
    reached = source.highest + (source.shift << 16)
    found = keyring.go_on(packet, arrival, candidates(reached, sent, int.from_bytes(packet[2:4])))
    return found and (found[0], found[1] - (source.shift << 16))


def candidates(reached: int, sent: int, sequence: int) -> range:
    """Return the indexes above `reached` that a 16-bit number may mean, after at most `sent` more packets.

    One cycle more than that is allowed, since a sender may be somewhat faster than it appeared.
    """
    first = reached + 1 + ((sequence - reached - 1) & 0xFFFF)
    rounds = min((reached + sent - first) // 0x10000 + 2, MAX_ROLLOVER)
    return range(first, first + max(1, rounds) * 0x10000, 0x10000)


def rekeyed(keyring: Keyring, source: Source, packet: bytes, arrival: int) -> Found | None:
    """Open a packet under another key that continues with the rollover counter of its source."""
    if len(packet) < 12 or (len(keyring.contexts) == 1 and keyring.contexts[0].shift is not None):
        return None
    extended = source.extend(int.from_bytes(packet[2:4]))
    for index in dict.fromkeys((extended + (source.shift << 16), extended)):
        opened = keyring.take_on(packet, arrival, index) if index >> 16 > 0 else None  # at zero every key was tried
        if opened is not None:
            return opened, extended
    return None
