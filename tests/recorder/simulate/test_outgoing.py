import struct

from pylibsrtp import Policy, Session

from recorder.simulate.flow import Flow
from recorder.simulate.outgoing import Outgoing

SUITE = "AES_CM_128_HMAC_SHA1_80"
KEY, PEER = bytes(range(30)), bytes(range(30, 60))


def stream(suite: str | None = None) -> Outgoing:
    words = {"id": 4, "lane": 1, "codec": "PCMA", "sound": 0, "run": 1, "call": 2, "stream": 1, "ssrc": 77}
    keys = {"suite": suite, "key": KEY.hex() if suite else "", "peer_key": PEER.hex() if suite else ""}
    rtp, rtcp = (Flow(None, ("127.0.0.1", port)) for port in (20000, 20001))  # type: ignore[arg-type]  # sends nothing
    return Outgoing(words | keys, {}, rtp, rtcp)


def report_about(ssrc: int) -> bytes:
    block = struct.pack("!IB3sIIII", ssrc, 12, (3).to_bytes(3, "big"), 70_000, 8, 0, 0)
    return struct.pack("!BBHI", 0x81, 201, 7, 9) + block


def test_the_sequence_resumes_and_the_clock_runs_on() -> None:
    ours = stream()
    ours.off(5)  # switching twice changes nothing
    ours.on(100)
    ours.on(120)
    first = ours.source.sequence + 100
    ours.off(150)
    ours.on(200)
    assert ours.source.sequence + 200 == first + 50
    ours.off(210)
    assert ours.sent == [(100, 150), (200, 210)] and ours.packets(300) == 60


def test_figures_of_the_recorders_reports_are_kept() -> None:
    ours, protected = stream(), stream(SUITE)
    for ssrc in (77, 78):
        ours.hear(report_about(ssrc))
    expected = {"reports": 1, "unreadable": 0, "foreign": 1, "lost": 3, "fraction": 12, "jitter": 8}
    assert ours.figures == expected
    theirs = Session(Policy(key=PEER, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    for report in (theirs.protect_rtcp(report_about(77)), report_about(77), b"", b"\x81"):
        protected.hear(report)
    assert (protected.figures["reports"], protected.figures["unreadable"]) == (1, 3)
    ours.hear(report_about(77)[:-1])
    assert ours.figures == expected | {"unreadable": 1}


def test_our_reports_are_protected_with_our_key() -> None:
    ours = stream(SUITE)
    ours.on(0)
    plain = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_INBOUND)).unprotect_rtcp(ours.report(50, 1.0))
    assert plain[1] == 200 and struct.unpack_from("!II", plain, 20) == (50, 8000)
