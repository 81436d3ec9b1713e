"""Receiver reports as an SBC reads them, and sender reports that come; read here by RFC 3550 alone."""

import struct

from pylibsrtp import Policy, Session

from media.receive.batch import FLAGS_AT, LENGTHS, MMSGHDR, MSG_TRUNC, NEAR
from media.records import record_format
from media.rtp import header
from media.rtp.rtcp import goodbye, receiver_report
from media.spec import StreamSpec
from media.stream import checkpoint, rtcp_reports
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from tests.media.stream.lanes import FRAME, lane_of, receive, stream_of

SUITE, KEY, OWN = "AES_CM_128_HMAC_SHA1_80", bytes(range(30)), bytes(range(30, 60))
AT = 1_700_000_000_000_000_000
SENDER = (b"\x7f\0\0\1", 4001)
PAYLOADS = ((8, "PCMA", 8000),)


def plain() -> ReceivedStream:
    return ReceivedStream(StreamSpec(0, payloads=PAYLOADS, source=("127.0.0.1", 4000)), Pauses(), 0xABCD)


def hear(track: ReceivedStream, *numbers: int) -> None:
    for number in numbers:
        packet = header.build(8, number, number * 160, 7, bytes(160))
        receive(track, [packet], arrivals=[AT + number * FRAME], address=(127, 0, 0, 1))


def sender_report(ntp: int = 0x1122_3344_5566_7788) -> bytes:
    return struct.pack("!BBHIQIII", 0x80, 200, 6, 7, ntp, 160, 10, 1600)


def read(compound: bytes) -> dict[str, int]:
    """Read RR + SDES by the figures of RFC 3550 sections 6.4.2 and 6.5."""
    first, kind, words, own = struct.unpack_from("!BBHI", compound)
    assert (first, kind, words) == (0x81, 201, 7)
    ssrc, lost, highest, jitter, last, delay = struct.unpack_from("!IIIIII", compound, 8)
    first, kind, words, of = struct.unpack_from("!BBHI", compound, 32)
    assert (first, kind, of, 32 + 4 + 4 * words) == (0x81, 202, own, len(compound))
    assert compound[40:42] == b"\1\x08"
    return {
        "own": own, "ssrc": ssrc, "fraction": lost >> 24, "lost": lost & 0xFFFFFF, "highest": highest,
        "jitter": jitter, "last": last, "delay": delay,
    }  # fmt: skip


def test_a_report_says_what_was_lost_since_the_last_one() -> None:
    track = plain()
    assert track.report(AT, b"recorder") is None  # before the first packet
    hear(track, *range(1, 11), *range(16, 21))
    said = read(track.report(AT, b"recorder") or b"")
    assert (said["own"], said["ssrc"], said["lost"], said["highest"]) == (0xABCD, 7, 5, 20)
    assert said["fraction"] == 256 * 5 // 20
    hear(track, *range(21, 41))
    said = read(track.report(AT, b"recorder") or b"")
    assert (said["lost"], said["fraction"], said["highest"], said["jitter"]) == (5, 0, 40, 0)


def test_round_trip_times_can_be_made_of_it() -> None:
    track, out = plain(), []
    hear(track, 1, 2)
    track.take_rtcp(sender_report(), SENDER, AT, out)
    said = read(track.report(AT + 1_500_000_000, b"recorder") or b"")
    assert (said["last"], said["delay"]) == (0x3344_5566, 3 * 32768)
    track.pauses.begin(AT)
    track.take_rtcp(sender_report(), SENDER, AT, out)  # nothing of a pause is stored
    (kept,) = record_format.read(out)
    assert kept == record_format.Rtcp(0, AT, sender_report())


def test_a_protected_report_opens_under_our_key_alone() -> None:
    track = ReceivedStream(StreamSpec(0, SUITE, KEY, own_key=OWN, payloads=PAYLOADS), Pauses(), 0xABCD)
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    receive(track, [sender.protect(packet) for packet in stream_of(3, 1)])
    opener = Session(Policy(key=OWN, ssrc_type=Policy.SSRC_ANY_INBOUND))
    reports = [track.report(AT, b"recorder") or b"" for _ in range(3)]
    assert [read(opener.unprotect_rtcp(each))["highest"] for each in reports] == [3, 3, 3]
    assert track.srtp.reports == 3


def test_forged_foreign_or_invalid_rtcp_changes_nothing() -> None:
    track, out = ReceivedStream(StreamSpec(0, SUITE, KEY, payloads=PAYLOADS), Pauses(), 1), []
    track.take_rtcp(sender_report(), SENDER, AT, out)
    track.take_rtcp(goodbye(7) + bytes(14), SENDER, AT, out)
    assert (track.reception.rejected, track.rtcp.sender_report, out) == (2, None, [])
    other = plain()
    other.take_rtcp(sender_report(), (b"\xc6\x33\x64\x09", 4001), AT, out)
    other.take_rtcp(b"\x80\xc8\xff\xff" + bytes(24), SENDER, AT, out)
    assert (other.reception.foreign, other.reception.rejected, other.rtcp.sender_report, out) == (1, 1, None, [])


def test_only_a_refused_report_needs_a_new_base() -> None:
    track, out = plain(), []
    hear(track, 1, 2)
    for packet, address, odd in (
        (sender_report(), (127, 0, 0, 1), False),
        (sender_report(), (192, 0, 2, 9), True),  # of a stranger
        (sender_report()[:-1], (127, 0, 0, 1), True),
        (bytes(20), (127, 0, 0, 1), True),
    ):
        before = checkpoint.steady([track])
        track.receive_rtcp(lane_of([packet], [AT], address), 1, out)
        assert (checkpoint.steady([track]) != before) == odd
    assert (track.reception.foreign, track.reception.rejected, len(out)) == (2, 1, 1)


def test_only_rtcp_is_taken_for_a_report() -> None:
    marked = header.build(127, 1, 0, 7, bytes(160), marker=True)  # its second byte is the highest there is
    lane = lane_of([marked, sender_report(), b"\x80", bytes(1) + sender_report()[1:], sender_report()], [AT] * 5)
    assert rtcp_reports.among(lane, 5) == rtcp_reports.among(lane, 5, 127) == [1, 4]
    usual = [header.build(8, n, 0, 7, b"") for n in range(4)]
    assert rtcp_reports.among(lane_of([*usual, sender_report()], [AT] * 5), 5, 8) == [4]
    assert rtcp_reports.among(lane_of(usual, [AT] * 4), 4, 8) == []
    assert rtcp_reports.among(lane, 4) == [1]  # what lies behind is of the batch before
    (short,) = LENGTHS[1](lane.behind(2).headers, 0)
    lane.near[2 * NEAR + short] = 200  # so is what lies behind a short packet
    lane.headers[MMSGHDR + FLAGS_AT] = MSG_TRUNC
    assert rtcp_reports.among(lane, 5) == [4]


def sent(count: int) -> bytes:
    return struct.pack("!BBHIQIII", 0x80, 200, 6, 7, 1, 160, count, 1600)


def test_a_report_of_nothing_sent_explains_a_silence() -> None:
    track, out = plain(), []
    track.gaps.since = AT
    hear(track, 1)
    second = 1_000_000_000
    for after, packet, since in (
        (1, sent(10), 0),  # what it sent before is unknown
        (2, sent(20), 0),
        (3, sent(20), 3),
        (4, receiver_report(7, b"x"), 4),
        (5, receiver_report(8, b"x"), 4),  # of somebody else
        (6, goodbye(7), 6),
        (7, sent(30), 6),
    ):
        track.take_rtcp(packet, SENDER, AT + after * second, out)
        assert track.gaps.since == AT + since * second, after
    hear(track, 400)  # a goodbye ends nothing
    assert track.reception.packets == 2
