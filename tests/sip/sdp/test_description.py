"""Session descriptions as they come."""

import pytest

from sip.errors import MalformedBody
from sip.sdp.description import Connection, Format, SessionDescription
from tests.sip.offered import written

OFFER = """v=0
o=src 17 4 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
t=0 0
a=sendonly
m=audio 40000 RTP/SAVP 8 101
a=rtpmap:8 PCMA/8000
a=fmtp:101 0-15, 16
a=rtpmap:101 telephone-event/8000
a=label:1
a=rtcp-mux
m=video 40002/2 RTP/AVPF 97
c=IN IP6 2001:db8::1
a=recvonly
a=rtpmap:97 H264/90000
a=label:a_leg
"""


def parse(text: str) -> SessionDescription:
    return SessionDescription.parse(text.replace("\n", "\r\n").encode())


def only(lines: str) -> SessionDescription:
    return parse("v=0\n" + lines)


def test_an_offer_is_read_line_by_line_and_written_back() -> None:
    offer = parse(OFFER)
    audio, video = offer.media
    assert (audio.kind, audio.port, audio.profile, audio.payloads, audio.label) == (
        "audio",
        40000,
        "RTP/SAVP",
        ("8", "101"),
        "1",
    )
    assert (video.kind, video.port, video.profile, video.label) == ("video", 40002, "RTP/AVPF", "a_leg")
    assert audio.formats == (Format(8, "PCMA", 8000), Format(101, "telephone-event", 8000, 1, "0-15, 16"))
    assert written(offer) == OFFER.replace("\n", "\r\n").encode()
    assert offer.version == "4"


def test_the_session_level_lends_what_a_line_lacks() -> None:
    """Duty O7."""
    audio, video = parse(OFFER).media
    assert (audio.direction, video.direction) == ("sendonly", "recvonly")
    assert audio.connection == Connection("IP4", "192.0.2.1")
    assert video.connection == Connection("IP6", "2001:db8::1")
    assert only("m=audio 1 RTP/AVP 0\n").media[0].direction == "sendrecv"


def test_dtls_attributes_come_from_both_levels() -> None:
    session = "a=setup:actpass\na=fingerprint:sha-256 AA\nm=audio 1 UDP/TLS/RTP/SAVP 0\n"
    own = "m=audio 3 UDP/TLS/RTP/SAVP 0\na=setup:passive\na=fingerprint:sha-1 BB\n"
    first, second = only(session + own).media
    assert (first.setup, first.fingerprints) == ("actpass", ("sha-256 AA",))
    assert (second.setup, second.fingerprints) == ("passive", ("sha-1 BB",))


@pytest.mark.parametrize(
    "data",
    [
        b"v=0\rm=audio 4000 RTP/AVP 0\ra=label:1\r",
        b"v=0\0\r\nm=audio 4000 RTP/AVP 0\0\r\na=label:1\0\r\n",
        b"\xef\xbb\xbfv=0\n\n\njunk\nq=odd\na=3gOoBTC\na=direction:both\n m=audio 4000 RTP/AVP 0\na=label:1\n",
        b"m=audio 4000 RTP/AVP 0\na=label:1",  # all other lines are missing
    ],
)
def test_junk_and_other_line_ends_are_tolerated_o7(data: bytes) -> None:
    offer = SessionDescription.parse(data)
    assert [(media.label, media.payloads) for media in offer.media] == [("1", ("0",))]
    assert offer.value("v") == ("0" if b"v=" in data else None)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("m=audio 1 RTP/AVP 0", Format(0, "PCMU", 8000)),
        ("m=audio 1 RTP/AVP 9", Format(9, "G722", 8000)),
        ("m=audio 1 RTP/AVP 19", Format(19, "CN", 8000)),
        ("m=audio 1 RTP/AVP 0\na=rtpmap:0 pcmu/8000a", Format(0, "PCMU", 8000)),
        ("m=audio 1 RTP/AVP 0\na=rtpmap:0 pcmu", Format(0, "PCMU", 8000)),
        (
            "m=audio 1 RTP/AVP 98\na=fmtp:98 a=1; b=2\na=rtpmap:98 OPUS/48000/2",
            Format(98, "opus", 48000, 2, "a=1; b=2"),
        ),
        ("m=audio 1 RTP/AVP 98\na=rtpmap:98 X-own/16000", Format(98, "X-own", 16000)),
        ("m=audio 1 RTP/AVP 99", Format(99, "", 8000)),
        ("m=audio 1 RTP/AVP 99\na=rtpmap:", Format(99, "", 8000)),
        ("m=video 1 RTP/AVP 99", Format(99, "", 90000)),
        ("m=audio 1 RTP/AVP 2\na=rtpmap:2 G726-32/8000", Format(2, "G726-32", 8000)),
    ],
)
def test_formats_in_every_spelling(lines: str, expected: Format) -> None:
    """Duties O7, T6."""
    assert only(lines).media[0].formats == (expected,)


def test_payload_types_count_once_and_must_be_numbers_in_range() -> None:
    assert [f.payload_type for f in only("m=audio 1 RTP/AVP 8 0 8 200 x * 1000 127").media[0].formats] == [8, 0, 127]


@pytest.mark.parametrize(
    "line", ["m=", "m=audio", "m=audio x RTP/AVP 0", "m=audio 99999 RTP/AVP 0", "m=audio -1 RTP/AVP 0"]
)
def test_a_damaged_m_line_stays_one_without_port(line: str) -> None:
    media = only(f"{line}\nm=audio 4 RTP/AVP 0\n").media
    assert [m.port for m in media] == [0, 4]


@pytest.mark.parametrize(
    ("text", "ip", "held"),
    [
        ("IN IP4 192.0.2.1/127", "192.0.2.1", False),
        ("IN IP4 0.0.0.0", "0.0.0.0", True),
        ("IN IP6 ::", "::", True),
        ("IN IP6 ::ffff:192.0.2.2", "192.0.2.2", False),
        ("IN IP6 [2001:db8::1]", "2001:db8::1", False),
        ("IN IP4 host.example", None, False),
        ("IN IP4 1.2.3", None, False),
    ],
)
def test_connections(text: str, ip: str | None, held: bool) -> None:
    connection = Connection.parse(text)
    assert connection is not None
    assert (connection.ip, connection.on_hold) == (ip, held)
    assert Connection.parse("IN IP4") is None


@pytest.mark.parametrize("data", [b"", b"\r\n", b"hello", b"<xml/>", b"o=x\nt=0 0", bytes(100)])
def test_an_invalid_description_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedBody):
        SessionDescription.parse(data)


@pytest.mark.parametrize(
    "data", [b"v=0\n" + b"m=audio 1 RTP/AVP 0\n" * 300, b"v=0\n" * 5_000, b"v=0\r" * 5_000, b"v=0\n" + b"a" * 300_000]
)
def test_limits(data: bytes) -> None:
    with pytest.raises(MalformedBody, match="sdp-size"):
        SessionDescription.parse(data)
