"""Captures: the original packets at their times, in a file that other tools open."""

import struct
from collections.abc import Iterator, Sequence

from media.codecs.decoders import Format
from media.export import pcap
from media.export.pcap import CapturedStream
from media.records import record_format
from tests.in_process.rendered_calls import MS, PCMU, START, noise, run, single

AUDIO = CapturedStream(0, "audio", {0: PCMU})
OTHER = CapturedStream(1, "audio", {96: Format("opus", 48_000, 2, "useinbandfec=1")})


def captured(stored: bytes, *streams: CapturedStream) -> bytes:
    out = bytearray()
    pcap.write(record_format.read([stored]), streams or (AUDIO,), out.extend)
    return bytes(out)


def datagrams(file: bytes) -> Sequence[tuple[int, int, int, bytes]]:
    """Return (time ns, source port, destination port, payload) of each."""
    found, at = [], 24
    while at < len(file):
        seconds, nanos, size, _ = struct.unpack_from("<IIII", file, at)
        packet = file[at + 16 : at + 16 + size]
        assert packet[0] == 0x45
        assert sum(struct.unpack("!10H", packet[:20])) % 0xFFFF == 0
        source, target, length = struct.unpack_from("!HHH", packet, 20)
        assert length == len(packet) - 20
        found.append((seconds * 1_000_000_000 + nanos, source, target, packet[28:]))
        at += 16 + size
    return found


def media(file: bytes) -> Sequence[tuple[int, int, int, bytes]]:
    return datagrams(file)[2:]


def test_packets_are_written_as_they_came_over_the_wire() -> None:
    payloads, whole = noise(1, 3), b"\x90\x80\x00\x01" + bytes(8) + b"\xbe\xde\x00\x01abcd" + b"sound"
    arrivals = tuple(START + (100 + 20 * n) * MS for n in range(3))
    mixed = record_format.Mixed(0, 0, 7, 100, (False, True, False), (0, 160, 320), arrivals, (b"a", b"bb", b"ccc"))
    stored = run(payloads, seq=65_535, ts=7, ssrc=9) + record_format.mixed(mixed)
    found = media(captured(stored + record_format.packet(0, 1, START + 200 * MS, whole)))
    assert [at - START for at, _, _, _ in found] == [n * MS for n in (0, 20, 40, 100, 120, 140, 200)]
    heads = [struct.pack("!BBHII", 0x80, 0, *numbers, 9) for numbers in ((65_535, 7), (0, 167), (1, 327))]
    expected = [head + payload for head, payload in zip(heads, payloads, strict=True)]
    assert [packet for _, _, _, packet in found] == [*expected, *(packet for _, _, packet in mixed.packets()), whole]


def test_each_stream_has_its_own_ports_and_rtcp_beside_them() -> None:
    report = struct.pack("!BBHI", 0x80, 201, 1, 7)
    stored = run(noise(1, 1)) + run(noise(1, 1), stream=1, at=1) + record_format.rtcp(1, START + 2 * MS, report)
    found = media(captured(stored, AUDIO, OTHER))
    assert [d[1:3] for d in found] == [(10_000, 20_000), (10_002, 20_002), (10_003, 20_003)]
    assert found[2][3] == report
    assert len(media(captured(stored))) == 1  # of what was asked for alone


def test_datagrams_are_in_the_order_of_their_arrival_and_once() -> None:
    stored = run(noise(1, 25)) + run(noise(2, 25), stream=1, ssrc=8, at=5) + run(noise(1, 25))
    times = [d[0] for d in media(captured(stored, AUDIO, OTHER))]
    assert times == sorted(times)
    assert len(times) == 50


def test_a_long_call_is_written_as_it_is_read() -> None:
    loud, sizes, read = noise(1, 25), list[int](), list[int]()

    def parts() -> Iterator[bytes]:
        for i in range(200):
            read.append(i)
            yield run(loud, seq=25 * i, ts=4000 * i, at=500 * i)

    pcap.write(record_format.read(parts()), [AUDIO], lambda _: sizes.append(len(read)))
    assert sizes[3] < 60


def test_the_offer_names_types_and_nothing_of_the_call() -> None:
    evil = CapturedStream(0, "audio\r\nm=x", {96: Format("a\r\nb=1", 8000, 1, "x\r\na=evil")})
    _, _, _, offer = datagrams(captured(single(noise(1, 1)[0]), AUDIO, OTHER))[0]
    assert b"m=audio 10002 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n" in offer
    _, _, _, offer = datagrams(captured(b"", evil))[0]
    assert b"\r\na=evil" not in offer and b"\r\nb=1" not in offer


def test_a_capture_without_the_first_stream_keeps_its_start() -> None:
    stored = run(noise(2, 2), stream=1, ssrc=8, at=1_000) + run(noise(1, 100), stream=0)
    whole, mine = (captured(stored, AUDIO._replace(silent=silent), OTHER) for silent in (False, True))
    assert [d[0] for d in datagrams(mine)[:2]] == [d[0] for d in datagrams(whole)[:2]] == [START - 2 * MS, START - MS]
    assert media(mine) == [d for d in media(whole) if d[2] == 20_002]
