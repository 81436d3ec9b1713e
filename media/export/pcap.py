"""Write stored packets as a capture: plain RTP in UDP and IPv4, with the kernel's arrival times and original payloads.

Each stream gets its own pair of ports. The file begins with an artificial SIP offer and answer that name ports and
payload types: without them Wireshark knows neither that the datagrams are RTP nor the codec of a dynamic type.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from media.codecs.decoders import Format
from media.export.seen_sequences import Seen
from media.records.record_format import Mixed, Packet, Record, Rtcp, Run
from media.rtp import header

MAGIC = 0xA1B2_3C4D  # times in nanoseconds
RAW_IP = 101  # link type: packets begin with the IP header
LONGEST = 65_535
SECOND = 1_000_000_000
WINDOW = 10 * SECOND  # datagrams are sorted within this; a worker writes at most a few seconds of one stream in a row
MOST_HELD = 100_000  # datagrams held for sorting

SENDER, RECORDER = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])  # RFC 5737: addresses for documentation
SENDER_PORT, RECORDER_PORT, SIP_PORT = 10_000, 20_000, 5_060

NOWHERE = 0  # destination port of a datagram that only marks the start of the call

Datagram = tuple[int, int, bytes]  # arrival ns, destination port, payload


class CapturedStream(NamedTuple):
    """One stream to capture."""

    number: int
    # index of the stream in the records
    media: str
    # audio, video, text, application
    payloads: Mapping[int, Format]
    # payload type -> format
    silent: bool = False
    # not captured, but it counts for the start of the capture


def write(records: Iterable[Record], streams: Sequence[CapturedStream], give: Callable[[bytes], object]) -> int:
    """Pass the file to `give` piece by piece; return the number of packets, including the two artificial ones."""
    give(struct.pack("<IHHiIII", MAGIC, 2, 4, 0, 0, LONGEST, RAW_IP))
    count = 0
    for arrival, port, payload in _with_offer(_sorted(_datagrams(records, streams)), streams):
        if port < 0:
            packet = udp(RECORDER, SENDER, -port, -port, payload)
        elif port == SIP_PORT:
            packet = udp(SENDER, RECORDER, port, port, payload)
        else:
            packet = udp(SENDER, RECORDER, port - RECORDER_PORT + SENDER_PORT, port, payload)
        give(struct.pack("<IIII", arrival // SECOND, arrival % SECOND, len(packet), len(packet)) + packet)
        count += 1
    return count


def udp(source: bytes, target: bytes, source_port: int, target_port: int, payload: bytes) -> bytes:
    """Put a payload into UDP (no checksum, which IPv4 allows) and IPv4."""
    total = 28 + len(payload)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 0, 0x4000, 64, 17, 0, source, target)
    words: int = sum(struct.unpack("!10H", head))
    words = (words & 0xFFFF) + (words >> 16)
    checksum = (~((words & 0xFFFF) + (words >> 16)) & 0xFFFF).to_bytes(2, "big")
    ports = struct.pack("!HHHH", source_port, target_port, 8 + len(payload), 0)
    return head[:10] + checksum + head[12:] + ports + payload


def _datagrams(records: Iterable[Record], streams: Sequence[CapturedStream]) -> Iterator[Datagram]:
    """Yield every packet once, in file order."""
    ports = {stream.number: RECORDER_PORT + 2 * i for i, stream in enumerate(streams)}
    silent = {stream.number for stream in streams if stream.silent}
    seen: dict[tuple[int, int], Seen] = {}
    for record in records:
        if not isinstance(record, Run | Mixed | Packet | Rtcp) or record.stream not in ports:
            continue
        port = ports[record.stream]
        if record.stream in silent:
            if not isinstance(record, Rtcp):
                yield record.arrivals[0] if isinstance(record, Run | Mixed) else record.arrival, NOWHERE, b""
            continue
        if isinstance(record, Rtcp):
            if len(record.packet) <= LONGEST - 28:
                yield record.arrival, port + 1, record.packet
            continue
        found = (
            record.packets() if isinstance(record, Run | Mixed) else [(record.sequence, record.arrival, record.packet)]
        )
        for sequence, arrival, packet in found:
            if not header.HEADER <= len(packet) <= LONGEST - 28:
                continue
            if seen.setdefault((record.stream, int.from_bytes(packet[8:12], "big")), Seen()).fresh(sequence, 1):
                yield arrival, port, packet


def _sorted(datagrams: Iterable[Datagram]) -> Iterator[Datagram]:
    """Sort by arrival within WINDOW."""
    held: list[Datagram] = []
    newest = 0
    for datagram in datagrams:
        held.append(datagram)
        newest = max(newest, datagram[0])
        if newest - held[0][0] > 2 * WINDOW or len(held) > MOST_HELD:
            held.sort(key=lambda d: d[0])
            ready = sum(1 for d in held if d[0] < newest - WINDOW) or len(held) // 2
            yield from held[:ready]
            del held[:ready]
    held.sort(key=lambda d: d[0])
    yield from held


def _with_offer(datagrams: Iterator[Datagram], streams: Sequence[CapturedStream]) -> Iterator[Datagram]:
    """Put offer and answer 2 ms before the first packet, whether that is captured or not; pass on what is captured."""
    first = next(datagrams, None)
    start = first[0] if first else 2_000_000
    offer, answer = _invite(streams)
    yield max(start - 2_000_000, 0), SIP_PORT, offer
    yield max(start - 1_000_000, 0), -SIP_PORT, answer
    if first:
        yield from (datagram for datagram in chain([first], datagrams) if datagram[1] != NOWHERE)


def _invite(streams: Sequence[CapturedStream]) -> tuple[bytes, bytes]:
    """Write an artificial INVITE and its 200; only ports and payload types are those of the call."""
    common = (
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKexport\r\nFrom: <sip:sender@192.0.2.1>;tag=1\r\n"
        "To: <sip:recorder@192.0.2.2>{tag}\r\nCall-ID: export\r\nCSeq: 1 INVITE\r\nContact: <sip:{contact}>\r\n"
        "Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n"
    )
    offered, answered = _sdp(streams, "192.0.2.1", SENDER_PORT), _sdp(streams, "192.0.2.2", RECORDER_PORT)
    offer = "INVITE sip:recorder@192.0.2.2 SIP/2.0\r\nMax-Forwards: 70\r\n" + common.format(
        tag="", contact="192.0.2.1", length=len(offered)
    )
    answer = "SIP/2.0 200 OK\r\n" + common.format(tag=";tag=2", contact="192.0.2.2", length=len(answered))
    return (offer + offered).encode(), (answer + answered).encode()


def _sdp(streams: Sequence[CapturedStream], address: str, port: int) -> str:
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=export", f"c=IN IP4 {address}", "t=0 0"]
    for i, stream in enumerate(streams):
        numbers = sorted(stream.payloads) or [0]
        lines.append(f"m={_token(stream.media)} {port + 2 * i} RTP/AVP {' '.join(map(str, numbers))}")
        for number, form in sorted(stream.payloads.items()):
            channels = f"/{form.channels}" if form.channels > 1 else ""
            lines.append(f"a=rtpmap:{number} {_token(form.name)}/{form.clock}{channels}")
            if form.fmtp:
                lines.append(f"a=fmtp:{number} {_text(form.fmtp)}")
    return "\r\n".join(lines) + "\r\n"


def _token(value: str) -> str:
    """Keep the characters of an RFC 8866 token."""
    return "".join(c for c in value if c.isascii() and (c.isalnum() or c in "-_.+"))[:40] or "x"


def _text(value: str) -> str:
    """Keep what may appear on one line."""
    return "".join(c for c in value if " " <= c <= "~")[:200]
