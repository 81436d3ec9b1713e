"""SRTP packets that a receiver by the book refuses and that are genuine: three cases, tried in this order.

1. So many others overtook a packet that libsrtp takes it for a replay. libsrtp shifts its replay window with every
   packet, which takes the longer the longer it is; ours moves once a batch. So libsrtp has a short one
   (media.srtp.context.REPLAYS), and what lies behind that and within ours is opened here.
2. More than half a round of numbers is missing, so that no receiver can estimate the index: it takes the one nearest to
   the last one (RFC 3711 section 3.3.1). Once 32,768 packets are missing, eleven minutes of a usual stream, that is the
   wrong one: everything is refused as forged or replayed, to the end of the call. Time tells how many packets may have
   been sent meanwhile, and so which indexes are possible; the right one is genuine.
3. A source goes on under the key of a re-offer, or another of its line, with the rollover counter it had. RFC 3711
   section 3.3.1 wants it kept over a new master key; many senders begin at zero with the new key of a re-offer, which
   is what a fresh context takes for granted. Both are heard: what a key does not open at zero is looked at once more
   with the index that the stream has reached, by the counter of the key in use and by that of the first one. A key of
   before goes on with the latter where another has begun at zero meanwhile and it was forgotten: by a successor, or
   before it was offered again.

Each gives the plaintext and the extended number of the packet, None if it is not such a packet.
"""

from media.rtp.sequence import Source
from media.srtp.context import MAX_ROLLOVER
from media.srtp.keyring import Keyring

#: srtp_err_status_replay_old of libsrtp: behind its window, not authenticated.
OLD = 10
#: Packets that may be missing before anything is looked for; the estimate is right up to 32,768.
NEAR = 0x7000
#: ns of a packet where none has shown it yet.
PACKET = 20_000_000
Found = tuple[bytes, int]


def recover(keyring: Keyring, source: Source, packet: bytes, arrival: int, status: int, unit: float) -> Found | None:
    """Open a packet of a known source that was refused with a status of libsrtp; `unit`: ns of a timestamp unit."""
    return (
        overtaken(keyring, source, packet, status)
        or after_outage(keyring, source, packet, arrival, unit)
        or rekeyed(keyring, source, packet, arrival)
    )


def overtaken(keyring: Keyring, source: Source, packet: bytes, status: int) -> Found | None:
    """Open a packet that libsrtp found too old and that has not come yet."""
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
    """Give the indexes beyond one that was reached which a 16-bit number may mean, after at most `sent` packets more.

    A round more than that: a sender may be somewhat faster than what was seen of it.
    """
    first = reached + 1 + ((sequence - reached - 1) & 0xFFFF)
    rounds = min((reached + sent - first) // 0x10000 + 2, MAX_ROLLOVER)
    return range(first, first + max(1, rounds) * 0x10000, 0x10000)


def rekeyed(keyring: Keyring, source: Source, packet: bytes, arrival: int) -> Found | None:
    """Open a packet under another key that goes on with the rollover counter its source had."""
    if len(packet) < 12 or (len(keyring.contexts) == 1 and keyring.contexts[0].shift is not None):
        return None
    extended = source.extend(int.from_bytes(packet[2:4]))
    for index in dict.fromkeys((extended + (source.shift << 16), extended)):
        opened = keyring.take_on(packet, arrival, index) if index >> 16 > 0 else None  # at zero every key was tried
        if opened is not None:
            return opened, extended
    return None
