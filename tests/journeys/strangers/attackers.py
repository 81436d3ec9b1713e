"""What somebody sends who wants into a recording: everything from noise to genuine packets played again."""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.daemon.flood import LARGEST, Datagram

SIZES = (0, 1, 11, 12, 13, 200, 1500, 9000, LARGEST)
ALL_PROTOCOLS = 3
End = tuple[str, int]


def doors(host: str) -> Iterator[tuple[End, End]]:
    """Yield the media sockets of a recorder at an address: their ends, and whom they are connected to (or port 0)."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        mine, theirs = (_end(word) for word in line.split()[1:3])
        if mine[0] == host and mine[1] >= 20_000:
            yield mine, theirs


def _end(word: str) -> End:
    address, _, port = word.partition(":")
    return socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)


def overheard(sender: str, host: str, count: int, seconds: float = 30.0) -> list[Datagram]:
    """Listen to the RTP that one host sends to the media ports of another; only root may."""
    heard: list[Datagram] = []
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS)) as ear:
        ear.bind(("lo", 0))
        ear.settimeout(0.5)
        while len(heard) < count and time.monotonic() < end:
            try:
                packet, where = ear.recvfrom(65536)
            except TimeoutError:  # a busy machine may let nobody speak for a moment
                continue
            one = _datagram(packet) if where[2] == socket.PACKET_OUTGOING else None
            if one and (one.source[0], one.target[0]) == (sender, host) and _is_rtp(one.data):
                heard.append(one)
    return heard


def _is_rtp(data: bytes) -> bool:
    return len(data) > 100 and data[0] == 0x80 and not 64 <= data[1] & 127 < 96


def _datagram(packet: bytes) -> Datagram | None:
    if packet[0] != 0x45 or packet[9] != socket.IPPROTO_UDP:
        return None
    source, target = struct.unpack_from("!HH", packet, 20)
    if target < 20_000:
        return None
    ends = (socket.inet_ntoa(packet[12:16]), source), (socket.inet_ntoa(packet[16:20]), target)
    return Datagram(*ends, packet[28:])


def forgeries(genuine: bytes, chance: random.Random) -> list[bytes]:
    """Make of a genuine packet what is not: changed, cut, played again, RTP without a key, RTCP BYE, STUN, DTLS."""
    sequence = (int.from_bytes(genuine[2:4]) + chance.randrange(1, 400)) & 0xFFFF
    head, ssrc = genuine[:2] + sequence.to_bytes(2) + genuine[4:12], genuine[8:12]
    flipped = bytearray(genuine)
    flipped[chance.randrange(len(genuine))] ^= 1 << chance.randrange(8)
    bye = struct.pack("!BBH", 0x81, 203, 1) + ssrc
    return [
        head + chance.randbytes(len(genuine) - 12),  # a tag that is none
        bytes(flipped),
        genuine[: chance.randrange(len(genuine))],
        genuine,  # played again
        head + bytes([0xD5]) * 160,  # plain RTP
        bye,
        bye + chance.randbytes(14),  # as if it were SRTCP
        struct.pack("!HHI", 1, 0, 0x2112A442) + chance.randbytes(12),  # STUN
        b"\x16\xfe\xfd" + bytes(8) + struct.pack("!H", 40) + b"\x01" + chance.randbytes(39),  # DTLS
        chance.randbytes(chance.choice(SIZES))
        if not chance.randrange(8)
        else chance.randbytes(chance.choice(SIZES[:6])),
    ]


def from_outside(host: str, ports: Sequence[int], genuine: Sequence[Datagram], count: int) -> list[Datagram]:
    """Forge from addresses that have nothing to do with any call."""
    chance, out = random.Random(7), []
    known = [one.data for one in genuine] or [b"\x80\x08" + os.urandom(180)]
    while len(out) < count:
        source = f"127.66.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        target = host, chance.choice(ports)
        out += [Datagram((source, 0), target, data) for data in forgeries(chance.choice(known), chance)]
    return out


def from_inside(genuine: Sequence[Datagram], count: int) -> list[Datagram]:
    """Forge in the name of the very address and port that a genuine packet came from."""
    chance, out = random.Random(8), []
    while len(out) < count:
        one = chance.choice(genuine)
        out += [Datagram(one.source, one.target, data) for data in forgeries(one.data, chance)]
    return out
